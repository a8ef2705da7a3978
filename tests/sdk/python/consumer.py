import os

from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka_event
from confluent_kafka import Consumer

consumer = Consumer({"bootstrap.servers": os.environ["KAFKA"], "group.id": "shop-python", "auto.offset.reset": "earliest"})
consumer.subscribe([os.environ["TOPIC"]])
while True:
    message = consumer.poll(1)
    if message is None or message.error():
        continue
    event = from_kafka_event(KafkaMessage(dict(message.headers()), message.key(), message.value()))
    print(event.get_id(), event.get_type(), event.get_data(), flush=True)
