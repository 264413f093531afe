// Clients in Go on one broker: go run . HOST:PORT. Prints "ok NAME" or "failed NAME" for each test.
package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

var at string

func check(name string, test func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := test(ctx); err != nil {
		fmt.Printf("failed %s: %v\n", name, err)
		return
	}
	fmt.Printf("ok %s\n", name)
}

func main() {
	at = os.Args[1]
	check("franz_admin", franzAdmin)
	check("franz_codecs_and_group", franzGroup)
	check("franz_transactions", franzTransactions)
	check("sarama_codecs_and_group", saramaGroup)
	check("sarama_transactions", saramaTransactions)
	check("segmentio_codecs_and_group", segmentioGroup)
}

// until asks again until it is so, or the time is up.
func until(ctx context.Context, what string, isSo func() bool) error {
	for !isSo() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("not in time: %s", what)
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}
