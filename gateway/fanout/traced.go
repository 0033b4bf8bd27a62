package fanout

import (
	"errors"

	"github.com/sluicehq/sluice/gateway/socket"
	"github.com/sluicehq/sluice/gateway/trace"
)

// Traced ends a way as it is told, and the span that records it.
func Traced(end Ending, span trace.Span) Ending { return &traced{end, span} }

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
