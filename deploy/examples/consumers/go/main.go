// An inventory that follows the orders of a shop; ../README.md explains each step.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/IBM/sarama"
	"github.com/cloudevents/sdk-go/protocol/kafka_sarama/v2"
	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// permanent: trying again cannot help, the event itself is wrong.
type permanent struct{ reason string }

func (p permanent) Error() string { return p.reason }

type inventory struct {
	database           *pgxpool.Pool
	producer           sarama.SyncProducer
	group, deadLetters string
}

func decode(ctx context.Context, message *sarama.ConsumerMessage) (*event.Event, error) {
	event, err := binding.ToEvent(ctx, kafka_sarama.NewMessageFromConsumerMessage(message))
	if err == nil {
		err = event.Validate()
	}
	if err != nil {
		return nil, permanent{"not a CloudEvent: " + err.Error()}
	}
	return event, nil
}

func (i *inventory) handle(ctx context.Context, event *event.Event) error {
	if event.Type() != "OrderPlaced" {
		return nil // not ours
	}
	var order struct {
		Order    int64  `json:"order"`
		SKU      string `json:"sku"`
		Quantity int32  `json:"quantity"`
	}
	if err := event.DataAs(&order); err != nil || order.Order == 0 || order.SKU == "" || order.Quantity <= 0 {
		return permanent{"the data is not an order"}
	}
	correlation, ok := event.Extensions()["correlationid"].(string)
	if !ok {
		correlation = event.ID()
	}
	err := pgx.BeginFunc(ctx, i.database, func(tx pgx.Tx) error {
		first, err := tx.Exec(ctx, "insert into inbox (source, id) values ($1, $2) on conflict do nothing", event.Source(), event.ID())
		if err != nil || first.RowsAffected() == 0 {
			return err // without an error a repeat: its effect is there already
		}
		changed, err := tx.Exec(ctx, "update stock set quantity = quantity - $1 where sku = $2", order.Quantity, order.SKU)
		if err != nil {
			return err
		}
		if changed.RowsAffected() == 0 {
			return permanent{"unknown sku " + order.SKU}
		}
		_, err = tx.Exec(ctx, `insert into outbox (aggregatetype, aggregateid, type, payload, correlation_id, causation_id)
			values ('stock', $1, 'StockReserved', $2, $3, $4)`, order.SKU, order, correlation, event.ID())
		return err
	})
	// SQLSTATE 22… and 23…: the values are wrong.
	var refused *pgconn.PgError
	if errors.As(err, &refused) && (strings.HasPrefix(refused.Code, "22") || strings.HasPrefix(refused.Code, "23")) {
		return permanent{refused.Code + ": " + refused.Message}
	}
	return err
}

// bury sends the record as it is to the dead letters, and returns when Kafka has it.
func (i *inventory) bury(message *sarama.ConsumerMessage, reason permanent) error {
	letter := &sarama.ProducerMessage{Topic: i.deadLetters}
	// A null key or value stays null, and an empty one empty.
	if message.Key != nil {
		letter.Key = sarama.ByteEncoder(message.Key)
	}
	if message.Value != nil {
		letter.Value = sarama.ByteEncoder(message.Value)
	}
	for _, header := range message.Headers {
		letter.Headers = append(letter.Headers, *header)
	}
	for _, header := range [][2]string{
		{"dlq-reason", reason.reason},
		{"dlq-topic", message.Topic},
		{"dlq-partition", fmt.Sprint(message.Partition)},
		{"dlq-offset", fmt.Sprint(message.Offset)},
		{"dlq-timestamp", fmt.Sprint(message.Timestamp.UnixMilli())},
		{"dlq-group", i.group},
	} {
		letter.Headers = append(letter.Headers, sarama.RecordHeader{Key: []byte(header[0]), Value: []byte(header[1])})
	}
	if _, _, err := i.producer.SendMessage(letter); err != nil {
		return err
	}
	log.Printf("dead letter: %s: %s", place(message), reason.reason)
	return nil
}

// settle returns when the record's transaction is committed or its letter is in Kafka; an error means that the
// partition is no longer ours.
func (i *inventory) settle(ctx context.Context, message *sarama.ConsumerMessage) error {
	for delay := 100 * time.Millisecond; ; delay = min(delay*2, 10*time.Second) {
		event, err := decode(ctx, message)
		if err == nil {
			err = i.handle(ctx, event)
		}
		var reason permanent
		if errors.As(err, &reason) {
			err = i.bury(message, reason)
		}
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		log.Printf("again in %s: %s: %v", delay, place(message), err)
		select {
		case <-time.After(delay/2 + rand.N(delay/2)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func place(message *sarama.ConsumerMessage) string {
	return fmt.Sprintf("%s/%d@%d", message.Topic, message.Partition, message.Offset)
}

func (*inventory) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (*inventory) Cleanup(sarama.ConsumerGroupSession) error { return nil }

// ConsumeClaim follows one partition until it is taken away.
func (i *inventory) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, open := <-claim.Messages():
			if !open || i.settle(session.Context(), message) != nil {
				return nil
			}
			// What is marked is committed each second, and when the session ends.
			session.MarkMessage(message, "")
		case <-session.Context().Done():
			return nil
		}
	}
}

func setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func run(ctx context.Context) error {
	brokers, group := strings.Split(os.Getenv("KAFKA"), ","), setting("GROUP", "inventory")
	config := sarama.NewConfig()
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Group.Session.Timeout = 10 * time.Second
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Return.Successes = true
	database, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	defer database.Close()
	producer, err := sarama.NewSyncProducer(brokers, config)
	if err != nil {
		return err
	}
	defer producer.Close()
	consumers, err := sarama.NewConsumerGroup(brokers, group, config)
	if err != nil {
		return err
	}
	defer consumers.Close()
	own := &inventory{database, producer, group, setting("DEAD_LETTERS", "inventory.dead-letters")}
	// Consume returns at every rebalance, and then takes the partitions that are ours now.
	for ctx.Err() == nil {
		if err := consumers.Consume(ctx, []string{setting("TOPIC", "outbox.event.order")}, own); err != nil {
			log.Printf("again in 1s: %v", err)
			time.Sleep(time.Second)
		}
	}
	return nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}
