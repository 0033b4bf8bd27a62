package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
)

// buildInfo is the build information in the binary.
type buildInfo struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Time     string `json:"time,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// The linker sets these in releases and images, which are not built in a checkout: see scripts/release and
// configs/deploy/Dockerfile. Otherwise they are empty.
var stampedVersion, stampedRevision, stampedTime string

// build returns the build information. Binaries that were built outside of a module or a checkout have less.
// Values set by the linker have precedence.
func build() buildInfo {
	b := buildInfo{Version: "(devel)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if info.Main.Version != "" {
		b.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	if stampedVersion != "" {
		b.Version = stampedVersion
	}
	if stampedRevision != "" {
		b.Revision, b.Time, b.Modified = stampedRevision, stampedTime, false
	}
	return b
}

// registerBuild registers a gauge that is always 1, with the build information as labels.
func registerBuild(registry prometheus.Registerer, prefix string) {
	b := build()
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: prefix + "build_info", Help: "1, with the version of this build in its labels.",
		ConstLabels: prometheus.Labels{"version": b.Version, "revision": b.Revision, "goversion": b.Go},
	})
	g.Set(1)
	registry.MustRegister(g)
}

func newVersionCommand() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("config") {
				return usage("--config has no effect here: version reads no configuration")
			}
			b, out := build(), cmd.OutOrStdout()
			if asJSON {
				return json.NewEncoder(out).Encode(b)
			}
			fmt.Fprintf(out, "sluice %s\n", b.Version)
			if b.Revision != "" {
				changed := ""
				if b.Modified {
					changed = ", with local changes"
				}
				of := ""
				if b.Time != "" {
					of = " of " + b.Time
				}
				fmt.Fprintf(out, "revision %s%s%s\n", b.Revision, of, changed)
			}
			fmt.Fprintf(out, "%s %s\n", b.Go, b.Platform)
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
