package fanout

import (
	"errors"

	"github.com/sluicehq/sluice/gateway/socket"
	"github.com/sluicehq/sluice/gateway/trace"
)

// Traced records the way of a subscription, if there is a way and a tracer.
func Traced(p *Way, by trace.Tracer, operation string) *Way {
	if by != nil && p != nil {
		p.Ends = &traced{p.Ends, by.Begin(operation, "sluice.app", p.Line.App, "sluice.channel", p.Line.Name)}
	}
	return p
}

type traced struct {
	Ending
	span trace.Span
}

func (t *traced) End(p *Way) []*socket.Frame {
	frames := t.Ending.End(p)
	var err error
	if f := p.Failed.Load(); f != nil {
		err = errors.New(string(f.Code))
	}
	t.span.End(0, p.Sent, err)
	return frames
}

// errLeft: the subscription ended before it was live.
var errLeft = errors.New("the subscription has ended")

func (t *traced) Abandon(p *Way) {
	t.Ending.Abandon(p)
	t.span.End(0, p.Sent, errLeft)
}
