package main

import (
	"context"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func franzClient(options ...kgo.Opt) (*kgo.Client, *kadm.Client, error) {
	client, err := kgo.NewClient(append(options, kgo.SeedBrokers(at))...)
	if err != nil {
		return nil, nil, err
	}
	return client, kadm.NewClient(client), nil
}

func franzAdmin(ctx context.Context) error {
	client, admin, err := franzClient()
	if err != nil {
		return err
	}
	defer client.Close()
	value := "5000000"
	if _, err := admin.CreateTopic(ctx, 2, 1, map[string]*string{"retention.ms": &value}, "f-admin"); err != nil {
		return err
	}
	if grown, err := admin.UpdatePartitions(ctx, 5, "f-admin"); err != nil || grown.Error() != nil {
		return fmt.Errorf("%v %v", err, grown.Error())
	}
	set := []kadm.AlterConfig{{Op: kadm.AppendConfig, Name: "cleanup.policy", Value: ptr("compact")}}
	if altered, err := admin.AlterTopicConfigs(ctx, set, "f-admin"); err != nil || altered[0].Err != nil {
		return fmt.Errorf("%v %v", err, altered)
	}
	configs, err := admin.DescribeTopicConfigs(ctx, "f-admin")
	if err != nil {
		return err
	}
	for _, config := range configs[0].Configs {
		if config.Key == "cleanup.policy" && config.MaybeValue() != "delete,compact" {
			return fmt.Errorf("cleanup.policy is %s", config.MaybeValue())
		}
	}
	details, err := admin.ListTopics(ctx, "f-admin")
	if err != nil || len(details["f-admin"].Partitions) != 5 {
		return fmt.Errorf("%v %v", err, details)
	}
	if _, err := admin.DescribeAllLogDirs(ctx, nil); err != nil {
		return err
	}
	_, err = admin.DeleteTopics(ctx, "f-admin")
	return err
}

func franzGroup(ctx context.Context) error {
	client, admin, err := franzClient()
	if err != nil {
		return err
	}
	defer client.Close()
	if _, err := admin.CreateTopic(ctx, 4, 1, nil, "f-group"); err != nil {
		return err
	}
	codecs := []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()}
	for _, codec := range codecs {
		producer, _, err := franzClient(kgo.ProducerBatchCompression(codec), kgo.DefaultProduceTopic("f-group"))
		if err != nil {
			return err
		}
		var records []*kgo.Record
		for number := range 200 {
			records = append(records, kgo.KeyStringRecord(fmt.Sprint(number), fmt.Sprintf("%v-%d", codec, number)))
		}
		if err := producer.ProduceSync(ctx, records...).FirstErr(); err != nil {
			return err
		}
		producer.Close()
	}
	var lock sync.Mutex
	got := map[string]int{}
	held := make([]int, 2)
	var members []*kgo.Client
	for index := range held {
		count := func(change int) func(context.Context, *kgo.Client, map[string][]int32) {
			return func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
				lock.Lock()
				held[index] += change * len(partitions["f-group"])
				lock.Unlock()
			}
		}
		member, _, err := franzClient(
			kgo.ConsumerGroup("f-group"), kgo.ConsumeTopics("f-group"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
			kgo.OnPartitionsAssigned(count(1)), kgo.OnPartitionsRevoked(count(-1)), kgo.DisableAutoCommit(),
		)
		if err != nil {
			return err
		}
		members = append(members, member)
		go func() {
			for {
				fetches := member.PollFetches(ctx)
				if fetches.IsClientClosed() {
					return
				}
				lock.Lock()
				fetches.EachRecord(func(record *kgo.Record) { got[string(record.Value)]++ })
				lock.Unlock()
				if ctx.Err() != nil || member.CommitUncommittedOffsets(ctx) != nil {
					return
				}
			}
		}()
	}
	err = until(ctx, "all records, and partitions are shared", func() bool {
		lock.Lock()
		defer lock.Unlock()
		return len(got) == 1000 && held[0] == 2 && held[1] == 2
	})
	if err != nil {
		return fmt.Errorf("%w: %d records, %v", err, len(got), held)
	}
	for _, member := range members {
		member.Close()
	}
	offsets, err := admin.FetchOffsets(ctx, "f-group")
	sum := int64(0)
	offsets.Each(func(one kadm.OffsetResponse) { sum += one.At })
	if err != nil || sum != 1000 {
		return fmt.Errorf("%v, committed %d", err, sum)
	}
	lag, err := admin.Lag(ctx, "f-group")
	if err != nil || lag["f-group"].Lag.Total() != 0 {
		return fmt.Errorf("%v, %v", err, lag)
	}
	_, err = admin.DeleteGroups(ctx, "f-group")
	return err
}

func franzTransactions(ctx context.Context) error {
	producer, admin, err := franzClient(kgo.TransactionalID("f-transactions"), kgo.DefaultProduceTopic("f-out"))
	if err != nil {
		return err
	}
	defer producer.Close()
	if _, err := admin.CreateTopic(ctx, 1, 1, nil, "f-out"); err != nil {
		return err
	}
	for number := range 4 {
		if err := producer.BeginTransaction(); err != nil {
			return err
		}
		if err := producer.ProduceSync(ctx, kgo.StringRecord(fmt.Sprint(number))).FirstErr(); err != nil {
			return err
		}
		if err := producer.EndTransaction(ctx, kgo.TransactionEndTry(number%2 == 0)); err != nil {
			return err
		}
	}
	reader, _, err := franzClient(
		kgo.ConsumeTopics("f-out"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
	)
	if err != nil {
		return err
	}
	defer reader.Close()
	got := ""
	for len(got) < 2 && ctx.Err() == nil {
		reader.PollFetches(ctx).EachRecord(func(record *kgo.Record) { got += string(record.Value) })
	}
	described, err := admin.DescribeTransactions(ctx, "f-transactions")
	if err != nil || described["f-transactions"].State != "CompleteAbort" || got != "02" {
		return fmt.Errorf("%v, %v, got %q", err, described, got)
	}
	return nil
}

func ptr(text string) *string { return &text }
