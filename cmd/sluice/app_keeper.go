package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/broker/redis"
	"github.com/sluicehq/sluice/configs"
	"github.com/sluicehq/sluice/configs/shelf"
	"github.com/sluicehq/sluice/kv"
	"github.com/sluicehq/sluice/streams"
	"github.com/sluicehq/sluice/streams/embedded"
)

// keeper manages the apps of the cluster for the commands.
type keeper struct {
	config *configs.Config
	shelf  *shelf.Shelf
	// measure describes what the log of an app holds, empty for nothing; removeLog removes it.
	measure   func(ctx context.Context, app string) (string, error)
	removeLog func(ctx context.Context, app string) error
	close     func()
}

// errNoEncryptionKey is the error of commands without a key.
var errNoEncryptionKey = errors.New("apps_encryption_key is not set, and these apps are sealed with it: give all gateways and this command the same, 32 bytes or more (`openssl rand -base64 48` makes one), and restart the gateways")

// errMemory is the error for a log in memory, which no other process can reach.
var errMemory = usage("adapter.driver is local, so this server keeps its log in memory: put its apps into the configuration file, which is read again when it changes")

// doorTimeout bounds the time for connecting to a server on this machine.
const doorTimeout = 5 * time.Second

// openKeeper connects to the store in which the configuration of a command keeps its apps.
func openKeeper(cmd *cobra.Command) (*keeper, error) {
	c, err := loadConfig(cmd)
	if err != nil {
		return nil, err
	}
	if err := c.CheckBackend(); err != nil {
		return nil, err
	}
	if c.Driver == "local" {
		return nil, errMemory
	}
	keys, err := sealing(c, false)
	switch {
	case err != nil:
		return nil, err
	case keys == nil:
		return nil, errNoEncryptionKey
	}
	in := &keeper{config: c}
	var table kv.Table
	switch {
	case c.Driver == "nats":
		table, err = in.openNATS(cmd.Context())
	default:
		table, err = in.openRedis(cmd.Context())
	}
	if err != nil {
		return nil, err
	}
	in.shelf = shelf.New(table, keys)
	return in, nil
}

func (in *keeper) openNATS(ctx context.Context) (kv.Table, error) {
	opt := streamOptions(in.config, slog.New(slog.DiscardHandler))
	opt.Apps, opt.Name = nil, "sluice app"
	hint := "Does a server run there? `sluice app` goes where the gateways have their log."
	if in.config.Embeds() {
		hint = "Does the server run, on this machine? `sluice app` goes to the one that has its log in " + in.config.NATS.Embedded.StoreDir + "."
		door, err := embedded.OpenDoor(in.config.NATS.Embedded.StoreDir)
		if err != nil {
			return nil, hinted{err, hint}
		}
		if err := checkMark(in.config, door.Mark); err != nil {
			return nil, err
		}
		opt.URLs, opt.ConnectOptions = []string{door.URL}, door.ConnectOptions()
		opt.StartTimeout = min(opt.StartTimeout, doorTimeout)
	}
	l, err := streams.OpenBare(ctx, opt)
	if err != nil {
		return nil, hinted{err, hint}
	}
	in.close = func() { _ = l.Close() }
	in.measure = func(ctx context.Context, app string) (string, error) {
		events, bytes, there, err := l.Measure(ctx, app)
		if err != nil || !there {
			return "", err
		}
		return fmt.Sprintf("its stream with %s, %s, and so the history of all its channels", counted(int(events), "event"), counted(int(bytes), "byte")), nil
	}
	in.removeLog = l.RemoveApp
	table, err := l.OpenTable(ctx)
	if err != nil {
		in.close()
		return nil, err
	}
	return table, nil
}

func (in *keeper) openRedis(ctx context.Context) (kv.Table, error) {
	opt := redisOptions(in.config, slog.New(slog.DiscardHandler))
	opt.Apps = nil
	l, err := redis.OpenBare(ctx, opt)
	if err != nil {
		return nil, err
	}
	in.close = func() { _ = l.Close() }
	in.measure = func(ctx context.Context, app string) (string, error) {
		n, err := l.Measure(ctx, app)
		if err != nil || n == 0 {
			return "", err
		}
		return fmt.Sprintf("its %s in Redis, and so the history of all its channels", counted(n, "key")), nil
	}
	in.removeLog = l.RemoveApp
	table, err := l.OpenTable(ctx)
	if err != nil {
		in.close()
		return nil, err
	}
	return table, nil
}

// app reads an app of the cluster and its settings.
func (in *keeper) app(ctx context.Context, id string) (*shelf.App, map[string]any, error) {
	a, err := in.shelf.Get(ctx, id)
	if errors.Is(err, shelf.ErrNotThere) {
		for i := range in.config.Apps {
			if in.config.Apps[i].ID == id {
				return nil, nil, fmt.Errorf("%w: %s is an app of the configuration, which is changed there", err, id)
			}
		}
	}
	if err != nil {
		return nil, nil, err
	}
	tree, err := treeOf(a)
	if err != nil {
		return a, nil, errors.New(problemOf(id, err))
	}
	return a, tree, nil
}

// present returns an app as a gateway that uses it has it, nothing if it cannot be read.
func (in *keeper) present(a *shelf.App) []configs.App {
	if a == nil {
		return nil
	}
	tree, err := treeOf(a)
	if err != nil {
		return nil
	}
	return []configs.App{in.config.ClusterApp(tree)}
}

// checked returns the text of an app, if it is valid together with all others.
func (in *keeper) checked(ctx context.Context, id string, tree map[string]any) ([]byte, error) {
	all, err := in.shelf.List(ctx)
	if err != nil {
		return nil, err
	}
	text, err := configs.AppText(tree)
	if err != nil {
		return nil, err
	}
	// The text is checked as gateways will parse it.
	tree, err = configs.ParseApp(text)
	if err != nil {
		return nil, err
	}
	trees := map[string]map[string]any{}
	for other, a := range all {
		if t, err := treeOf(a); err == nil && other != id {
			trees[other] = t
		}
	}
	// Existing apps have precedence, whatever their ids are.
	base, _ := in.config.WithClusterApps(trees, nil)
	if _, refused := base.WithClusterApps(map[string]map[string]any{id: tree}, in.present(all[id])); refused[id] != nil {
		return nil, refused[id]
	}
	return text, nil
}
