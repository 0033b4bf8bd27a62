package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sluicehq/sluice/configs"
	"github.com/sluicehq/sluice/configs/shelf"
)

func newAppCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "app",
		Short: "Keep apps in the cluster, beside those of the configuration",
		Long: `Keep apps in NATS or Redis, beside those of the configuration. All gateways have them
within a second. The configuration is that of a gateway: it says where they are kept,
and has apps_encryption_key, with which they are sealed.

A server that has its log in the process must run on this machine, and whoever runs the
command must be able to read its data directory. In development mode it needs no key.
Flags of "sluice serve" that say where the log is are taken here as well.`,
		Example: `  sluice app add shop
  sluice app list --config sluice.yaml`,
		Args: arguments(cobra.NoArgs),
		// Without it, cobra would answer an unknown subcommand with the help and exit status 0.
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	configs.BindFlags(cmd.PersistentFlags())
	cmd.PersistentFlags().VisitAll(func(f *pflag.Flag) { f.Hidden = true })
	cmd.AddCommand(newAppAddCommand(), newAppSetCommand(), newAppListCommand(), newAppShowCommand(), newAppRotateCommand(),
		newAppEnabledCommand("enable", true), newAppEnabledCommand("disable", false), newAppRemoveCommand(), newAppResealCommand())
	return cmd
}

// notExpanded is the error for variables, whose values would become secrets in a readable file.
const notExpanded = "variables such as ${NAME} are not expanded in apps of the cluster; write the value, or use --secret-file"

// unexpanded returns a setting that contains a variable, empty if there is none.
func unexpanded(v any) string {
	switch v := v.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if text, is := v[name].(string); is && strings.Contains(text, "${") || unexpanded(v[name]) != "" {
				return name
			}
		}
	case []any:
		for _, inner := range v {
			if text, is := inner.(string); is && strings.Contains(text, "${") || unexpanded(inner) != "" {
				return "a list"
			}
		}
	}
	return ""
}

// settle parses flags of the form NAME=VALUE into the settings of an app.
func settle(tree map[string]any, sets []string) error {
	for _, s := range sets {
		name, value, ok := strings.Cut(s, "=")
		if !ok || name == "" {
			return usage("--set is %q, must be NAME=VALUE", s)
		}
		part, err := configs.ParseApp([]byte(name + ": " + value))
		if err != nil {
			return usage("--set %s: %v", name, err)
		}
		if at := unexpanded(part); at != "" {
			return usage("--set %s: %s", at, notExpanded)
		}
		for key, v := range part {
			tree[key] = v
		}
	}
	return nil
}

func newAppAddCommand() *cobra.Command {
	var file, key, secretFile string
	var sets []string
	cmd := &cobra.Command{
		Use:   "add ID",
		Short: "Add an app, and print its key and secret",
		Example: `  sluice app add shop --config sluice.yaml
  sluice app add shop --set enable_client_messages=true --set "allowed_origins=[https://shop.example.com]"
  sluice app add shop --file shop.yaml --key shop-key --secret-file shop.secret`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			tree := map[string]any{}
			if file != "" {
				text, err := os.ReadFile(file)
				if err != nil {
					return err
				}
				if tree, err = configs.ParseApp(text); err != nil {
					return fmt.Errorf("%s: %w", file, err)
				}
				if at := unexpanded(tree); at != "" {
					return usage("%s: %s: %s", file, at, notExpanded)
				}
			}
			if err := settle(tree, sets); err != nil {
				return err
			}
			tree["id"] = args[0]
			if key != "" {
				tree["key"] = key
			}
			if tree["key"] == nil {
				tree["key"] = strings.ToLower(rand.Text())
			}
			if secretFile != "" {
				secret, err := configs.ReadSecret(secretFile)
				if err != nil {
					return err
				}
				tree["secret"] = secret.Reveal()
			}
			if tree["secret"] == nil {
				tree["secret"] = rand.Text() + rand.Text()
			}
			in, err := openKeeper(cmd)
			if err != nil {
				return err
			}
			defer in.close()
			text, err := in.checked(cmd.Context(), args[0], tree)
			if err != nil {
				return err
			}
			if err := in.shelf.Add(cmd.Context(), args[0], text); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "id: %s\nkey: %v\nsecret: %v\n", args[0], tree["key"], tree["secret"])
			return nil
		},
	}
	cmd.Flags().StringVar(&file, "file", "", "settings as an entry of apps has them, YAML or JSON")
	cmd.Flags().StringVar(&key, "key", "", "public key")
	cmd.Flags().StringVar(&secretFile, "secret-file", "", "file that holds the secret")
	cmd.Flags().StringArrayVar(&sets, "set", nil, "a setting as in apps, as `NAME=VALUE`; may be given several times")
	return cmd
}

// newAppChange returns a command that changes one app. change gets its settings, and returns the text to print.
func newAppChange(use, short string, change func(cmd *cobra.Command, tree map[string]any) (say string, err error)) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			in, err := openKeeper(cmd)
			if err != nil {
				return err
			}
			defer in.close()
			was, tree, err := in.app(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			say, err := change(cmd, tree)
			if err != nil {
				return err
			}
			text, err := in.checked(cmd.Context(), args[0], tree)
			if err == nil {
				err = in.shelf.Set(cmd.Context(), was, text)
			}
			if err != nil {
				return err
			}
			fmt.Fprint(cmd.OutOrStdout(), say)
			return nil
		},
	}
}

func newAppSetCommand() *cobra.Command {
	var sets []string
	cmd := newAppChange("set ID", "Change settings of an app", func(_ *cobra.Command, tree map[string]any) (string, error) {
		if len(sets) == 0 {
			return "", usage("--set NAME=VALUE is missing")
		}
		return "changed\n", settle(tree, sets)
	})
	cmd.Flags().StringArrayVar(&sets, "set", nil, "a setting as in apps, as `NAME=VALUE`; may be given several times")
	return cmd
}

func newAppEnabledCommand(name string, enabled bool) *cobra.Command {
	short := "Let an app be used again"
	if !enabled {
		short = "Close the connections of an app (4003) and refuse its requests"
	}
	return newAppChange(name+" ID", short, func(_ *cobra.Command, tree map[string]any) (string, error) {
		tree["enabled"] = enabled
		return name + "d\n", nil
	})
}

// mostEarlier is the maximum number of earlier keys of an app.
const mostEarlier = 16

func newAppRotateCommand() *cobra.Command {
	var overlap time.Duration
	var secretOnly bool
	cmd := newAppChange("rotate ID", "Give an app another key and secret; those before count for a while", func(_ *cobra.Command, tree map[string]any) (string, error) {
		if overlap < 0 {
			return "", usage("--overlap is %v, must not be negative", overlap)
		}
		now := time.Now().UTC()
		before := map[string]any{"key": tree["key"], "secret": tree["secret"], "until": now.Add(overlap).Format(time.RFC3339)}
		earlier, _ := tree["previous_keys"].([]any)
		// Without an overlap no entry is made: the old secret would continue to prove orders of gateways.
		said := "those before count no more\n"
		if overlap > 0 {
			earlier = append([]any{before}, earlier...)
			tree["previous_keys"] = earlier[:min(len(earlier), mostEarlier)]
			said = fmt.Sprintf("those before count until %v\n", before["until"])
		}
		if !secretOnly {
			tree["key"] = strings.ToLower(rand.Text())
		}
		tree["secret"] = rand.Text() + rand.Text()
		return fmt.Sprintf("key: %v\nsecret: %v\n%severy gateway accepts the new ones within a second\n", tree["key"], tree["secret"], said), nil
	})
	cmd.Flags().DurationVar(&overlap, "overlap", 24*time.Hour, "how long the key and secret before count; 0s if somebody else knows them")
	cmd.Flags().BoolVar(&secretOnly, "secret-only", false, "keep the key")
	return cmd
}

// listedApp is a row of `sluice app list`.
type listedApp struct {
	ID      string `json:"id"`
	Key     string `json:"key,omitempty"`
	Enabled bool   `json:"enabled"`
	From    string `json:"from"`
	Problem string `json:"problem,omitempty"`
}

func newAppListCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list", Short: "List the apps of the configuration and of the cluster", Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			in, err := openKeeper(cmd)
			if err != nil {
				return err
			}
			defer in.close()
			all, err := in.shelf.List(cmd.Context())
			if err != nil {
				return err
			}
			rows := in.rows(all)
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(rows)
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tKEY\tENABLED\tFROM\tPROBLEM")
			for _, r := range rows {
				fmt.Fprintf(w, "%s\t%s\t%v\t%s\t%s\n", r.ID, r.Key, r.Enabled, r.From, r.Problem)
			}
			return w.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

// rows returns the apps of the configuration and of the cluster, sorted by id.
func (in *keeper) rows(all map[string]*shelf.App) []listedApp {
	trees, problems := map[string]map[string]any{}, map[string]error{}
	for id, a := range all {
		tree, err := treeOf(a)
		if err != nil {
			problems[id] = err
			continue
		}
		trees[id] = tree
	}
	full, refused := in.config.WithClusterApps(trees, nil)
	var rows []listedApp
	for i := range full.Apps {
		a := &full.Apps[i]
		from := "cluster"
		if i < len(in.config.Apps) {
			from = "configuration"
		}
		rows = append(rows, listedApp{ID: a.ID, Key: a.Key, Enabled: a.Enabled, From: from})
	}
	for id, err := range refused {
		problems[id] = err
	}
	for id, err := range problems {
		rows = append(rows, listedApp{ID: id, From: "cluster", Problem: oneLine(err)})
	}
	slices.SortStableFunc(rows, func(a, b listedApp) int { return strings.Compare(a.ID, b.ID) })
	return rows
}

func newAppShowCommand() *cobra.Command {
	var secrets bool
	cmd := &cobra.Command{
		Use: "show ID", Short: "Print the settings of an app of the cluster", Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			in, err := openKeeper(cmd)
			if err != nil {
				return err
			}
			defer in.close()
			_, tree, err := in.app(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if !secrets {
				conceal(tree)
			}
			text, err := configs.AppText(tree)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s\n", text)
			return nil
		},
	}
	cmd.Flags().BoolVar(&secrets, "secrets", false, "show secrets")
	return cmd
}

// conceal replaces the secrets in the settings of an app.
func conceal(tree map[string]any) {
	const hidden = "[redacted]"
	tree["secret"] = hidden
	earlier, _ := tree["previous_keys"].([]any)
	for _, k := range earlier {
		if m, is := k.(map[string]any); is {
			m["secret"] = hidden
		}
	}
	hooks, _ := tree["webhooks"].([]any)
	for _, h := range hooks {
		m, _ := h.(map[string]any)
		if address, is := m["url"].(string); is {
			m["url"] = configs.ShownURL(address)
		}
		headers, _ := m["headers"].(map[string]any)
		for name := range headers {
			headers[name] = hidden
		}
	}
}

func newAppResealCommand() *cobra.Command {
	return &cobra.Command{
		Use: "reseal", Short: "Seal all apps with the present apps_encryption_key", Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			in, err := openKeeper(cmd)
			if err != nil {
				return err
			}
			defer in.close()
			all, err := in.shelf.List(cmd.Context())
			if err != nil {
				return err
			}
			done := 0
			var errs []error
			for id, a := range all {
				switch {
				case a.Err != nil:
					errs = append(errs, errors.New(problemOf(id, a.Err)))
				case a.Old:
					if err := in.shelf.Set(cmd.Context(), a, a.Text); err != nil {
						errs = append(errs, fmt.Errorf("%s: %w", id, err))
						continue
					}
					done++
				}
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d of %d apps were sealed anew\n", done, len(all))
			return errors.Join(errs...)
		},
	}
}
