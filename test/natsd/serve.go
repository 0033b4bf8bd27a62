package natsd

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Env is the environment variable by which the program is told its [Settings], as JSON.
const Env = "NATS_CHILD"

// Settings are those of one server.
type Settings struct {
	Name string
	Port int
	Dir  string
	// ClusterPort and Routes make it one of a cluster.
	ClusterPort int
	Routes      []string
	// MaxStore is how many bytes it may store, 4 GiB if it is 0.
	MaxStore int64
	// Sync is how often it has the disk take what was written, 0 for the server's own default.
	Sync time.Duration
	// Accounts is a file of configuration of which it takes the accounts and their users.
	Accounts string
	// Config is a file that says everything instead. It is read again on SIGHUP.
	Config string
}

func (s Settings) options() (*server.Options, error) {
	if s.Config != "" {
		opt, err := server.ProcessConfigFile(s.Config)
		if err == nil {
			opt.NoLog = true
		}
		return opt, err
	}
	opt := &server.Options{
		ServerName: s.Name, Host: "127.0.0.1", Port: s.Port, JetStream: true, StoreDir: s.Dir, NoSigs: true, NoLog: true,
		JetStreamMaxMemory: 64 << 20, JetStreamMaxStore: 4 << 30, SyncInterval: s.Sync,
	}
	if s.MaxStore > 0 {
		opt.JetStreamMaxStore = s.MaxStore
	}
	if len(s.Routes) > 0 {
		opt.Cluster = server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: s.ClusterPort}
		opt.Routes = server.RoutesFromStr(strings.Join(s.Routes, ","))
	}
	if s.Accounts != "" {
		told, err := server.ProcessConfigFile(s.Accounts)
		if err != nil {
			return nil, err
		}
		opt.Accounts, opt.Users, opt.SystemAccount = told.Accounts, told.Users, told.SystemAccount
	}
	return opt, nil
}

// State is what a server says of its part in the cluster.
type State struct {
	// Leads says that it leads the cluster's own group, Current that it has all of what that decided.
	Leads, Current bool
}

// Serve runs a server until in ends, and then stops it in order. It carries out the lines of in and writes
// a line to out after each:
//
//	state            a [State]
//	cut SUFFIX SEED  drops two of three client connections whose names end with the suffix
func Serve(settings string, in io.Reader, out io.Writer) error {
	var set Settings
	if err := json.Unmarshal([]byte(settings), &set); err != nil {
		return err
	}
	opt, err := set.options()
	if err != nil {
		return err
	}
	s, err := server.NewServer(opt)
	if err != nil {
		return err
	}
	go s.Start()
	defer s.WaitForShutdown()
	defer s.Shutdown()
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		answer, err := obey(s, lines.Text())
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(out, answer); err != nil {
			return err
		}
	}
	return lines.Err()
}

func obey(s *server.Server, line string) (string, error) {
	if line == "state" {
		b, err := json.Marshal(State{s.JetStreamIsLeader(), s.JetStreamIsCurrent()})
		return string(b), err
	}
	var suffix string
	var seed uint64
	if _, err := fmt.Sscanf(line, "cut %s %d", &suffix, &seed); err != nil {
		return "", fmt.Errorf("%q is nothing that a server can be told: %w", line, err)
	}
	conns, err := s.Connz(&server.ConnzOptions{})
	if err != nil {
		return "", err
	}
	rnd := rand.New(rand.NewPCG(seed, 0))
	for _, c := range conns.Conns {
		if strings.HasSuffix(c.Name, suffix) && rnd.IntN(3) > 0 {
			_ = s.DisconnectClientByID(c.Cid)
		}
	}
	return "done", nil
}
