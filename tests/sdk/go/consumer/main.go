package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/IBM/sarama"
	"github.com/cloudevents/sdk-go/protocol/kafka_sarama/v2"
	"github.com/cloudevents/sdk-go/v2/binding"
)

type shop struct{}

func (shop) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (shop) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (shop) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for message := range claim.Messages() {
		event, err := binding.ToEvent(session.Context(), kafka_sarama.NewMessageFromConsumerMessage(message))
		if err != nil {
			return err
		}
		fmt.Println(event.ID(), event.Type(), string(event.Data()))
		session.MarkMessage(message, "")
	}
	return nil
}

func main() {
	config := sarama.NewConfig()
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	group, err := sarama.NewConsumerGroup([]string{os.Getenv("KAFKA")}, "shop-go", config)
	if err != nil {
		log.Fatal(err)
	}
	for {
		if err := group.Consume(context.Background(), []string{os.Getenv("TOPIC")}, shop{}); err != nil {
			log.Fatal(err)
		}
	}
}
