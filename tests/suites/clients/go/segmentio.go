package main

import (
	"context"
	"fmt"
	"sync"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/compress"
)

func segmentioGroup(ctx context.Context) error {
	client := &kafka.Client{Addr: kafka.TCP(at)}
	topics := []kafka.TopicConfig{{Topic: "k-group", NumPartitions: 4, ReplicationFactor: 1}}
	if created, err := client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: topics}); err != nil || created.Errors["k-group"] != nil {
		return fmt.Errorf("%v %v", err, created)
	}
	for _, codec := range []compress.Compression{compress.None, compress.Gzip, compress.Snappy, compress.Lz4, compress.Zstd} {
		writer := &kafka.Writer{Addr: kafka.TCP(at), Topic: "k-group", Compression: codec, RequiredAcks: kafka.RequireAll, Balancer: &kafka.Hash{}}
		var messages []kafka.Message
		for number := range 200 {
			value := fmt.Appendf(nil, "%v-%d", codec, number)
			messages = append(messages, kafka.Message{Key: value, Value: value})
		}
		if err := writer.WriteMessages(ctx, messages...); err != nil {
			return err
		}
		writer.Close()
	}
	var lock sync.Mutex
	got := map[string]int{}
	var readers []*kafka.Reader
	for range 2 {
		reader := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{at}, GroupID: "k-group", Topic: "k-group", StartOffset: kafka.FirstOffset})
		readers = append(readers, reader)
		go func() {
			for {
				message, err := reader.ReadMessage(ctx)
				if err != nil {
					return
				}
				lock.Lock()
				got[string(message.Value)]++
				lock.Unlock()
			}
		}()
	}
	err := until(ctx, "all records", func() bool {
		lock.Lock()
		defer lock.Unlock()
		return len(got) == 1000
	})
	for _, reader := range readers {
		reader.Close()
	}
	return err
}
