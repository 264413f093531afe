package main

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/IBM/sarama"
)

func saramaConfig() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.V4_0_0_0
	config.Producer.Return.Successes = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Idempotent = true
	config.Net.MaxOpenRequests = 1
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	return config
}

func saramaCreate(topic string, partitions int32) error {
	admin, err := sarama.NewClusterAdmin([]string{at}, saramaConfig())
	if err != nil {
		return err
	}
	defer admin.Close()
	return admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1}, false)
}

// A member of a group that keeps what it gets.
type saramaMember struct {
	lock *sync.Mutex
	got  map[string]int
	held int
}

func (member *saramaMember) Setup(session sarama.ConsumerGroupSession) error {
	member.lock.Lock()
	defer member.lock.Unlock()
	member.held = len(session.Claims()["s-group"])
	return nil
}

func (member *saramaMember) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (member *saramaMember) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for message := range claim.Messages() {
		member.lock.Lock()
		member.got[string(message.Value)]++
		member.lock.Unlock()
		session.MarkMessage(message, "")
	}
	return nil
}

func saramaGroup(ctx context.Context) error {
	if err := saramaCreate("s-group", 4); err != nil {
		return err
	}
	codecs := []sarama.CompressionCodec{
		sarama.CompressionNone, sarama.CompressionGZIP, sarama.CompressionSnappy, sarama.CompressionLZ4, sarama.CompressionZSTD,
	}
	for _, codec := range codecs {
		config := saramaConfig()
		config.Producer.Compression = codec
		producer, err := sarama.NewSyncProducer([]string{at}, config)
		if err != nil {
			return err
		}
		var messages []*sarama.ProducerMessage
		for number := range 200 {
			value := sarama.StringEncoder(fmt.Sprintf("%v-%d", codec, number))
			messages = append(messages, &sarama.ProducerMessage{Topic: "s-group", Key: value, Value: value})
		}
		if err := producer.SendMessages(messages); err != nil {
			return err
		}
		producer.Close()
	}
	lock, got := &sync.Mutex{}, map[string]int{}
	var members []*saramaMember
	var groups []sarama.ConsumerGroup
	for range 2 {
		group, err := sarama.NewConsumerGroup([]string{at}, "s-group", saramaConfig())
		if err != nil {
			return err
		}
		member := &saramaMember{lock: lock, got: got}
		members, groups = append(members, member), append(groups, group)
		go func() {
			for ctx.Err() == nil && group.Consume(ctx, []string{"s-group"}, member) == nil {
			}
		}()
	}
	err := until(ctx, "all records, and partitions are shared", func() bool {
		lock.Lock()
		defer lock.Unlock()
		return len(got) == 1000 && members[0].held == 2 && members[1].held == 2
	})
	for _, group := range groups {
		group.Close()
	}
	return err
}

func saramaTransactions(context.Context) error {
	if err := saramaCreate("s-out", 1); err != nil {
		return err
	}
	config := saramaConfig()
	config.Producer.Transaction.ID = "s-transactions"
	producer, err := sarama.NewSyncProducer([]string{at}, config)
	if err != nil {
		return err
	}
	for number := range 4 {
		if err := producer.BeginTxn(); err != nil {
			return err
		}
		value := sarama.StringEncoder(fmt.Sprint(number))
		if _, _, err := producer.SendMessage(&sarama.ProducerMessage{Topic: "s-out", Value: value}); err != nil {
			return err
		}
		end := producer.CommitTxn
		if number%2 == 1 {
			end = producer.AbortTxn
		}
		if err := end(); err != nil {
			return err
		}
	}
	producer.Close()
	config = saramaConfig()
	config.Consumer.IsolationLevel = sarama.ReadCommitted
	consumer, err := sarama.NewConsumer([]string{at}, config)
	if err != nil {
		return err
	}
	defer consumer.Close()
	partition, err := consumer.ConsumePartition("s-out", 0, sarama.OffsetOldest)
	if err != nil {
		return err
	}
	var got []string
	for len(got) < 2 {
		got = append(got, string((<-partition.Messages()).Value))
	}
	if strings.Join(got, "") != "02" {
		return fmt.Errorf("got %v", got)
	}
	return nil
}
