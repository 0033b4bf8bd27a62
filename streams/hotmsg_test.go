package streams

import (
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

func hotMessages(n int) []*nats.Msg {
	data := []byte(strings.Repeat("x", 200))
	at := time.Unix(1000, 0)
	out := make([]*nats.Msg, n)
	for i := range out {
		h := nats.Header{"Event": {"tick"}, nats.JSStream: {"CH_app"}, nats.JSSubject: {"ch.app.c"},
			nats.JSSequence: {strconv.Itoa(i + 1)}, nats.JSLastSequence: {strconv.Itoa(i)},
			nats.JSTimeStamp: {at.Add(time.Duration(i)).UTC().Format(time.RFC3339Nano)}}
		out[i] = &nats.Msg{Subject: "rt.app.c", Header: h, Data: data}
	}
	return out
}
