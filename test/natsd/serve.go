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

// Env is the environment variable from which the program reads its [Settings], as JSON.
const Env = "NATS_CHILD"

// Settings are the settings of one server.
type Settings struct {
	Name string
	Port int
	Dir  string
	// ClusterPort and Routes make the server a member of a cluster.
	ClusterPort int
	Routes      []string
	// MaxStore is the limit of stored bytes, 4 GiB if it is 0.
	MaxStore int64
	// Sync is how often the server syncs its files to disk, 0 for the server's own default.
	Sync time.Duration
	// Accounts is a configuration file from which the accounts and their users are taken.
	Accounts string
	// Config is a configuration file that replaces all other settings. It is reloaded on SIGHUP.
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

// State is the state of a server in its cluster.
type State struct {
	// Leads is true if the server leads the metadata group of the cluster, Current if it is up to date with
	// it.
	Leads, Current bool
}

// Serve runs a server until in ends, and then shuts it down in order. It executes the commands in the lines
// of in and writes a line to out after each:
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
