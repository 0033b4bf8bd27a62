package duties

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/sluicehq/sluice/broker"
)

// Orders are commands to all gateways. They are events in a log of the gateways, in a channel named by the id of
// the app. Only gateways may write there, and an order reaches every gateway once and in order, or is repaired.
type Orders struct {
	// Publisher stores orders, nil if none can be given. Node is the name of this gateway.
	Publisher broker.Publisher
	Node      string
	// Feed and History deliver the orders of all gateways; History may be nil.
	Feed    broker.Feed
	History broker.History
	// Terminate closes the connections of a user that signed in up to a time; zero means all.
	Terminate func(app, user string, until time.Time)
	Logger    *slog.Logger
}

// order is the data of such an event.
type order struct {
	Terminate string `json:"terminate"`
}

// Give orders all gateways to close the connections of a user. It returns when the order is stored.
func (o *Orders) Give(ctx context.Context, app, user string) error {
	if o.Publisher == nil {
		return errors.New("hub: there is nobody to give orders to")
	}
	data, err := json.Marshal(order{Terminate: user})
	if err != nil {
		return err
	}
	_, err = o.Publisher.Publish(ctx, broker.GatewaysApp, broker.Outgoing{Channel: app, Event: &broker.Event{
		Name: "sluice_internal:order", Data: data, Origin: broker.OriginHTTP, Node: o.Node,
	}})
	return err
}

// Follow receives the orders of an app, and first obeys those that were stored since began, by the clock of the
// log.
func (o *Orders) Follow(ctx context.Context, app string, began time.Time) (stop func(), err error) {
	sink := obedient{o, app}
	at, err := o.Feed.Attach(ctx, broker.GatewaysApp, app, sink)
	if err != nil {
		return nil, err
	}
	if o.History != nil {
		page, err := o.History.Read(ctx, broker.GatewaysApp, app, broker.Query{NewestFirst: true, Since: began, Limit: 1000})
		if err != nil {
			at.Detach()
			return nil, err
		}
		for _, p := range page.Publications {
			sink.obey(p, p.Time)
		}
	}
	return at.Detach, nil
}

// obedient obeys the orders for an app.
type obedient struct {
	*Orders
	app string
}

// Publication implements [broker.Sink].
func (o obedient) Publication(p *broker.Publication) { o.obey(p, time.Time{}) }

func (o obedient) obey(p *broker.Publication, until time.Time) {
	var what order
	if p.Skipped != "" || p.Origin != broker.OriginHTTP || json.Unmarshal(p.Data, &what) != nil || what.Terminate == "" {
		return
	}
	o.Terminate(o.app, what.Terminate, until)
}

// Gap implements [broker.Sink].
func (o obedient) Gap(g broker.Gap) {
	o.Logger.Warn("orders to all gateways may have been missed", "app", o.app, "reason", string(g.Reason))
}
