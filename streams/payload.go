package streams

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/broker"
)

// payloadInterval is the time between two questions to a server whose limit is too low. The server does not tell existing
// connections that its limit was raised.
const payloadInterval = 5 * time.Second

// shortPayload is the name of the problem that the limit of the server is too low.
const shortPayload = "max_payload of the NATS server"

// tooLarge returns the error for a message above the limit of the server.
func tooLarge(m *nats.Msg, limit int64) error {
	return fmt.Errorf("%w: with names and headers the event has %d bytes, and the NATS server takes %d (max_payload)",
		broker.ErrTooLarge, payload(m), limit)
}

// payload returns the number of bytes that count against max_payload.
func payload(m *nats.Msg) int64 { return int64(m.Size() - len(m.Subject) - len(m.Reply)) }

// checkPayload compares the limit of the server with the largest event of apps. Larger events are refused one by one, so the
// log stays ready.
func (l *Log) checkPayload(now time.Time) {
	c := l.pub.conn()
	limit, need := c.MaxPayload(), int64(l.maxData()+headerRoom)
	if !c.IsConnected() {
		return
	}
	if limit < need && now.Sub(l.asked) >= payloadInterval {
		l.asked = now
		if anew, err := l.askPayload(c); err == nil && anew != limit {
			// Only a new connection learns the new limit.
			_ = c.ForceReconnect()
			return
		}
	}
	var err error
	if limit < need {
		err = fmt.Errorf("it is %d bytes, so larger events are refused; an event may have %d bytes and takes up to %d with its names and headers",
			limit, l.maxData(), need)
	}
	l.mu.Lock()
	_, known := l.problems[shortPayload]
	delete(l.problems, shortPayload)
	if err != nil {
		l.problems[shortPayload] = problem{text: shortPayload + ": " + err.Error(), mild: true}
	}
	l.mu.Unlock()
	if err != nil && !known {
		l.opt.Logger.Warn("the NATS server takes smaller messages than apps may publish", "error", err)
	}
}

// askPayload returns the limit of the server of a connection, using a new connection.
func (l *Log) askPayload(of *nats.Conn) (int64, error) {
	opts, err := l.opt.connectOptions()
	if err != nil {
		return 0, err
	}
	opts = append(opts, nats.Name(l.opt.Name+" limits"), nats.NoReconnect())
	opts = append(opts, l.opt.ConnectOptions...)
	c, err := nats.Connect(of.ConnectedUrl(), opts...)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if c.ConnectedServerId() != of.ConnectedServerId() {
		return 0, errors.New("another server answered")
	}
	return c.MaxPayload(), nil
}
