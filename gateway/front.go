package gateway

import (
	"net"
	"net/http"
	"runtime/debug"
	"strings"

	"github.com/sluicehq/sluice/gateway/post"
)

// front accepts connections and serves the requests that publish. It passes all others to the HTTP server of
// the library.
func (n *Node) front(l net.Listener, fresh *newcomers) *post.Server {
	apps := n.opt.PathPrefix + "/apps/"
	opt := post.Options{
		Handler: n,
		Takes: func(path string) bool {
			rest, ok := strings.CutPrefix(path, apps)
			_, operation, two := strings.Cut(rest, "/")
			return ok && two && (operation == "events" || operation == "batch_events")
		},
		HeaderTimeout: n.opt.HeaderTimeout, BodyTimeout: n.opt.BodyTimeout, IdleTimeout: n.opt.IdleTimeout, AnswerTimeout: n.opt.AnswerTimeout,
		State: func(c net.Conn, s http.ConnState) {
			fresh.state(c, s)
			if n.shakes != nil {
				n.shakes.state(c, s)
			}
		},
		Left: n.beginning,
		Panicked: func(reason any) {
			n.opt.Logger.Error("a request panicked", "reason", reason, "stack", string(debug.Stack()))
		},
		Failed: func(err error) { n.opt.Logger.Debug("a connection could not be accepted", "error", err) },
	}
	if n.doors.enter != nil {
		sockets := n.opt.PathPrefix + "/app/"
		opt.Admit, opt.Queue = n.admit, n.queue
		opt.Queues = func(path string) bool { return strings.HasPrefix(path, sockets) }
	}
	return post.Serve(l, opt)
}
