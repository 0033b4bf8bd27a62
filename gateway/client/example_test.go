package client_test

import (
	"context"
	"fmt"
	"log"

	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/client"
)

// gatewayOfExamples runs a server in this process; yours runs elsewhere.
func gatewayOfExamples() (url string, stop func()) {
	events, err := memory.New(memory.Options{Apps: []string{"app-id"}})
	if err != nil {
		log.Fatal(err)
	}
	node, err := gateway.New(gateway.Options{
		Apps: app.NewRegistry(&app.App{
			ID: "app-id", Key: "app-key", Secret: "app-secret", Enabled: true, Limits: app.DefaultLimits, HistoryEnabled: true,
		}),
		Log: events, Listen: "127.0.0.1:0",
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- node.Run(ctx) }()
	return "http://" + node.Addr(), func() {
		cancel()
		if err := <-ended; err != nil {
			log.Print(err)
		}
		_ = events.Close()
	}
}

// A program with the secret of the app publishes, and another one with its key receives a channel.
func Example() {
	url, stop := gatewayOfExamples()
	defer stop()
	ctx := context.Background()

	c, err := client.Dial(ctx, client.Options{URL: url, Key: "app-key", Delta: true, Reconnect: true})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := c.Subscribe(ctx, "ticker"); err != nil {
		log.Fatal(err)
	}

	api, err := client.NewSigned(client.SignedOptions{URL: url, AppID: "app-id", Key: "app-key", Secret: "app-secret"})
	if err != nil {
		log.Fatal(err)
	}
	err = api.Publish(ctx, client.Publish{Name: "tick", Channels: []string{"ticker"}, Data: `{"price":191.20}`})
	if err != nil {
		log.Fatal(err)
	}
	e := <-c.Events()
	fmt.Println(e.Channel, e.Name, e.Data)
	// Output: ticker tick {"price":191.20}
}

// Private channels need a signature. A holder of the secret can make it, others request it from their
// application.
func ExampleOptions_auth() {
	url, stop := gatewayOfExamples()
	defer stop()
	ctx := context.Background()

	api, err := client.NewSigned(client.SignedOptions{URL: url, AppID: "app-id", Key: "app-key", Secret: "app-secret"})
	if err != nil {
		log.Fatal(err)
	}
	for _, auth := range []func(socketID, channel string) (string, string, error){nil, api.SignChannel} {
		c, err := client.Dial(ctx, client.Options{URL: url, Key: "app-key", Auth: auth})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(c.Subscribe(ctx, "private-desk"))
		_ = c.Close()
	}
	// Output:
	// subscription to private-desk refused: auth is missing (AuthError, status 401)
	// <nil>
}

// The history of a channel is read page by page.
func ExampleSigned_History() {
	url, stop := gatewayOfExamples()
	defer stop()
	ctx := context.Background()

	api, err := client.NewSigned(client.SignedOptions{URL: url, AppID: "app-id", Key: "app-key", Secret: "app-secret"})
	if err != nil {
		log.Fatal(err)
	}
	for _, data := range []string{"one", "two", "three"} {
		if err := api.Publish(ctx, client.Publish{Name: "note", Channels: []string{"lobby"}, Data: data}); err != nil {
			log.Fatal(err)
		}
	}
	q := client.HistoryQuery{OldestFirst: true, Limit: 2}
	for {
		page, err := api.History(ctx, "lobby", q)
		if err != nil {
			log.Fatal(err)
		}
		for _, item := range page.Items {
			fmt.Println(item.Data())
		}
		if !page.HasMore {
			break
		}
		q.Cursor = page.NextCursor
	}
	// Output:
	// one
	// two
	// three
}
