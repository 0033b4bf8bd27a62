package embedded

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Options configure a [Server].
type Options struct {
	// Host is the address to listen on, default 127.0.0.1.
	Host string
	// Port is the TCP port, default 4222; -1 takes any free one.
	Port int
	// StoreDir is where the log lives. Required. It is created if it is missing.
	StoreDir string
	// MaxStore and MaxMemory bound JetStream in bytes; defaults 10 GiB and 64 MiB.
	// Without bounds the server would reserve most of the machine's memory.
	MaxStore, MaxMemory int64
	// SyncInterval is how much an operating-system crash may cost, default 1 s.
	SyncInterval time.Duration
	// SyncAlways synchronises with every message instead.
	SyncAlways bool
	// DontListen makes a server that only this process can reach.
	DontListen bool
	// Prefix is put before the subjects that only gateways and the server write, but for
	// those of JetStream. Default none.
	Prefix string
	// MaxPayload bounds one message in bytes, default 1 MiB.
	MaxPayload int32
	// MaxConnections bounds the connections of others, default 1024: each takes a
	// descriptor that the store may need.
	MaxConnections int
	// Keeps are subjects that whoever comes by the [Door] may write; without any there is none.
	Keeps []string
	// Mark is told to whoever comes by the [Door]: any text, by which it sees whose server this is.
	Mark   string
	Logger *slog.Logger
}

func (o *Options) setDefaults() error {
	if o.StoreDir == "" {
		return errors.New("embedded NATS: the store directory is not set")
	}
	if o.Host == "" {
		o.Host = "127.0.0.1"
	}
	if o.Port == 0 {
		o.Port = 4222
	}
	if o.MaxStore == 0 {
		o.MaxStore = 10 << 30
	}
	if o.MaxMemory == 0 {
		o.MaxMemory = 64 << 20
	}
	if o.SyncInterval == 0 {
		o.SyncInterval = time.Second
	}
	if o.MaxPayload == 0 {
		o.MaxPayload = 1 << 20
	}
	if o.MaxConnections == 0 {
		o.MaxConnections = 1024
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// gatewayUser is the account of this process; the password is made at each start.
const gatewayUser = "sluice-gateway"

// Server is a running embedded server.
type Server struct {
	opt      Options
	lock     *lock
	password string
	// keeper is the password of those who come by the door.
	keeper  string
	unclean bool
	// recovered is set by [Server.Recovered].
	recovered atomic.Bool
	stop      sync.Once
	// front is nil if nobody but this process reaches the server.
	front *front
	// heals runs until quit; both belong to [Server.heal].
	heals  sync.WaitGroup
	quit   chan struct{}
	failed chan error

	mu sync.Mutex
	// nats is replaced when the store has to be opened again.
	nats    *server.Server
	logs    *adapter
	problem string
}

// Start starts a server and returns when it is ready. The error names the port or
// the directory that is in the way.
func Start(ctx context.Context, opt Options) (*Server, error) {
	if err := opt.setDefaults(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(opt.StoreDir, 0o750); err != nil {
		return nil, fmt.Errorf("embedded NATS: store directory: %w", err)
	}
	held, err := acquire(opt.StoreDir)
	if err != nil {
		return nil, err
	}
	s := &Server{opt: opt, lock: held, password: rand.Text(), keeper: rand.Text(), quit: make(chan struct{}), failed: make(chan error, 1)}
	if err := s.start(ctx); err != nil {
		held.release()
		return nil, err
	}
	s.heals.Go(s.heal)
	return s, nil
}

func (s *Server) start(ctx context.Context) error {
	if err := s.listen(); err != nil {
		return err
	}
	err := s.startServer(ctx)
	if err == nil {
		if err = s.hang(); err != nil {
			s.nats.Shutdown()
			s.nats.WaitForShutdown()
		}
	}
	if s.front != nil && err != nil {
		_ = s.front.listener.Close()
	} else if s.front != nil {
		s.front.serve()
	}
	return err
}

func (s *Server) startServer(ctx context.Context) (err error) {
	if s.unclean, err = enter(s.opt.StoreDir); err != nil {
		return err
	}
	s.nats, s.logs, err = s.boot(ctx)
	return err
}

// boot starts a server on the store and waits until it is ready.
func (s *Server) boot(ctx context.Context) (*server.Server, *adapter, error) {
	logs := &adapter{log: s.opt.Logger}
	n, err := server.NewServer(s.options())
	if err != nil {
		return nil, nil, fmt.Errorf("embedded NATS: %w", err)
	}
	n.SetLoggerV2(logs, false, false, false)
	go n.Start()
	deadline := time.Now().Add(30 * time.Second)
	for !n.ReadyForConnections(50*time.Millisecond) || !n.JetStreamEnabled() {
		why := logs.fatal()
		switch {
		case why != "":
			err = fmt.Errorf("embedded NATS: %s", why)
		case ctx.Err() != nil:
			err = fmt.Errorf("embedded NATS: %w", ctx.Err())
		case time.Now().After(deadline):
			err = errors.New("embedded NATS: not ready within 30 s")
		default:
			continue
		}
		n.Shutdown()
		n.WaitForShutdown()
		return nil, nil, err
	}
	return n, logs, nil
}

// listen takes the port for clients outside of this process, for as long as the server
// lives, whatever becomes of its store.
func (s *Server) listen() error {
	if s.opt.DontListen {
		return nil
	}
	address := net.JoinHostPort(s.opt.Host, strconv.Itoa(max(s.opt.Port, 0)))
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("embedded NATS: cannot listen on %s: %w; set nats.embedded.port to another port, or to -1 for any free one", address, err)
	}
	s.opt.Port = l.Addr().(*net.TCPAddr).Port
	s.front = &front{listener: l, inside: s.InProcessConn, max: s.opt.MaxConnections, maxPayload: int64(s.opt.MaxPayload), reserved: s.reserved(), log: s.opt.Logger}
	return nil
}

// reserved are the subjects that only gateways and the log write.
func (s *Server) reserved() []string {
	out := []string{"$KV.>"}
	for _, subject := range []string{"rt.>", "rtctr.>", "rtkv.>", "gw.>", "rtgw.>", "work.>", "ep.>"} {
		out = append(out, s.opt.Prefix+subject)
	}
	return out
}

func (s *Server) options() *server.Options {
	// Whoever comes without credentials is the command-line tool of the person at
	// this machine. It may do everything but write what only the log may write.
	guest := &server.User{Username: "guest", Password: rand.Text(), Permissions: &server.Permissions{
		Publish: &server.SubjectPermission{Deny: s.reserved()},
	}}
	return &server.Options{
		ServerName: "sluice-embedded", Host: s.opt.Host, Port: s.opt.Port, DontListen: true,
		Users:      []*server.User{guest, s.keepers(), {Username: gatewayUser, Password: s.password}},
		NoAuthUser: guest.Username,
		JetStream:  true, StoreDir: s.opt.StoreDir,
		JetStreamMaxMemory: s.opt.MaxMemory, JetStreamMaxStore: s.opt.MaxStore, SyncInterval: s.opt.SyncInterval,
		SyncAlways:             s.opt.SyncAlways,
		JetStreamLimits:        server.JSLimitOpts{Duplicates: 0},
		MaxPayload:             s.opt.MaxPayload,
		MaxConn:                s.opt.MaxConnections,
		NoSigs:                 true,
		DisableJetStreamBanner: true,
		LameDuckDuration:       5 * time.Second, LameDuckGracePeriod: time.Second,
	}
}

// ClientURL is the address for NATS clients, empty if the server does not listen.
func (s *Server) ClientURL() string {
	if s.front == nil {
		return ""
	}
	return "nats://" + s.front.listener.Addr().String()
}

// current is the server that runs at this moment.
func (s *Server) current() *server.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nats
}

// InProcessConn implements [nats.InProcessConnProvider], for the server that runs at this
// moment.
func (s *Server) InProcessConn() (net.Conn, error) { return s.current().InProcessConn() }

// ConnectOptions connect a client of this process without a network.
func (s *Server) ConnectOptions() []nats.Option {
	return []nats.Option{nats.InProcessServer(s), nats.UserInfo(gatewayUser, s.password)}
}

// UncleanBoot is true when the machine went down under the server before: what
// was stored in its last moments may be gone, and its offsets be given again.
func (s *Server) UncleanBoot() bool { return s.unclean }

// Recovered records that what follows from UncleanBoot has been done. Until then every start on the directory reports the
// crash again, also after a start that failed and after an orderly stop.
func (s *Server) Recovered() {
	if !s.unclean {
		return
	}
	if err := settle(s.opt.StoreDir); err != nil {
		s.opt.Logger.Warn("noting that the log has recovered failed; the next start begins a new epoch once more", "error", err)
		return
	}
	s.recovered.Store(true)
}

// Shutdown stops the server and waits for it. Idempotent.
func (s *Server) Shutdown() {
	s.stop.Do(func() {
		close(s.quit)
		s.heals.Wait()
		if s.front != nil {
			s.unhang()
			s.front.close()
		}
		n := s.current()
		n.Shutdown()
		n.WaitForShutdown()
		if s.unclean && !s.recovered.Load() {
			// The marker of the crash stays for the next start.
		} else if err := leave(s.opt.StoreDir); err != nil {
			s.opt.Logger.Warn("noting the clean stop failed", "error", err)
		}
		s.lock.release()
	})
}

// lock is an exclusive lock on a store directory, held for the life of the server.
// Two servers on one directory would both start and both acknowledge the same
// offsets.
type lock struct{ file *os.File }

func acquire(dir string) (*lock, error) {
	f, err := os.OpenFile(filepath.Join(dir, "sluice.lock"), os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return nil, fmt.Errorf("embedded NATS: store directory: %w", err)
	}
	if err := exclusive(f); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("embedded NATS: the store directory %s is in use by another server (%w); set nats.embedded.store_dir to another one", dir, err)
	}
	return &lock{f}, nil
}

func (l *lock) release() { _ = l.file.Close() }
