// Reads records with sarama, decodes each with the CloudEvents SDK for Go, and prints what it sees,
// one JSON object a line: reader BOOTSTRAP COUNT TOPIC…
package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/IBM/sarama"
	"github.com/cloudevents/sdk-go/protocol/kafka_sarama/v2"
	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/event"
)

// eventOf is what docs/sdks.md shows.
func eventOf(message *sarama.ConsumerMessage) (*event.Event, error) {
	read, err := binding.ToEvent(context.Background(), kafka_sarama.NewMessageFromConsumerMessage(message))
	if err != nil {
		return nil, err
	}
	return read, read.Validate()
}

func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

func seen(message *sarama.ConsumerMessage, line map[string]any) {
	read, err := eventOf(message)
	if err != nil {
		line["error"] = err.Error()
		return
	}
	line["id"], line["source"], line["type"] = read.ID(), read.Source(), read.Type()
	line["subject"], line["dataschema"] = orNull(read.Subject()), orNull(read.DataSchema())
	line["datacontenttype"] = orNull(read.DataContentType())
	line["time"] = read.Time().Format(time.RFC3339Nano)
	extensions := map[string]any{}
	for name, value := range read.Extensions() {
		extensions[name] = value
	}
	line["extensions"] = extensions
	line["data"] = nil
	if data := read.Data(); data != nil {
		line["data"] = map[string]any{"bytes": base64.StdEncoding.EncodeToString(data)}
	}
}

func recordOf(message *sarama.ConsumerMessage) map[string]any {
	headers := map[string]string{}
	for _, header := range message.Headers {
		name := string(header.Key)
		if name != "content-type" && !strings.HasPrefix(name, "ce_") {
			headers[name] = string(header.Value)
		}
	}
	line := map[string]any{"topic": message.Topic, "offset": message.Offset, "headers": headers, "key": nil}
	if message.Key != nil {
		line["key"] = base64.StdEncoding.EncodeToString(message.Key)
	}
	return line
}

func main() {
	left, err := strconv.Atoi(os.Args[2])
	check(err)
	consumer, err := sarama.NewConsumer([]string{os.Args[1]}, sarama.NewConfig())
	check(err)
	messages := make(chan *sarama.ConsumerMessage)
	for _, topic := range os.Args[3:] {
		partition, err := consumer.ConsumePartition(topic, 0, sarama.OffsetOldest)
		check(err)
		go func() {
			for message := range partition.Messages() {
				messages <- message
			}
		}()
	}
	for ; left > 0; left-- {
		select {
		case message := <-messages:
			line := recordOf(message)
			seen(message, line)
			text, err := json.Marshal(line)
			check(err)
			fmt.Println(string(text))
		case <-time.After(30 * time.Second):
			log.Fatal("no further record within 30 s")
		}
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
