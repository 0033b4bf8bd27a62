package deploy

import (
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/sluicehq/sluice/configs"
)

const root = "../.."

// kit is where everything is that runs the program.
var kit = filepath.Join(root, "configs", "deploy")

func composeFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(kit, "compose-*.yml"))
	if err != nil || len(files) < 2 {
		t.Fatal(files, err)
	}
	return append(files, filepath.Join(root, "docker-compose.yml"))
}

func loadCompose(t *testing.T, file string) *types.Project {
	t.Helper()
	dir, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		t.Fatal(err)
	}
	p, err := loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir: dir, ConfigFiles: []types.ConfigFile{{Filename: file}}, Environment: types.Mapping{},
	})
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return p
}

// pinned is an image of one release.
var pinned = regexp.MustCompile(`^[a-z/]+:v?\d+\.\d+\.\d+(-alpine)?$`)

// careless says what is wrong with a service that others can run into.
func careless(s types.ServiceConfig) (wrong []string) {
	once := s.NetworkMode == "none" && s.Restart == "no"
	bad := func(is bool, what string) {
		if is {
			wrong = append(wrong, what)
		}
	}
	bad(!s.ReadOnly, "its root can be written")
	bad(!slices.Equal(s.CapDrop, []string{"ALL"}), "it keeps capabilities")
	bad(!slices.Equal(s.SecurityOpt, []string{"no-new-privileges:true"}), "it may get new privileges")
	bad(s.Privileged || s.Pid != "" || s.NetworkMode == "host", "it is not apart from the machine")
	bad(!once && (s.User == "" || strings.HasPrefix(s.User, "0") || strings.HasPrefix(s.User, "root") || len(s.CapAdd) > 0), "it runs as root")
	bad(s.MemLimit == 0 || s.PidsLimit == 0, "it has no limits")
	bad(!once && (s.HealthCheck == nil || len(s.HealthCheck.Test) < 2 || s.HealthCheck.StartPeriod == nil), "nobody asks for its health")
	bad(!once && s.Restart != "unless-stopped", "it stays down")
	bad(s.Image != "sluice:local" && !pinned.MatchString(s.Image), "its image is not of one release: "+s.Image)
	bad(s.Image == "sluice:local" && s.PullPolicy != types.PullPolicyNever, "its image might come from elsewhere")
	bad(s.Logging == nil || s.Logging.Options["max-size"] == "", "its log fills the disk")
	for _, p := range s.Ports {
		ip, err := netip.ParseAddr(p.HostIP)
		bad(err != nil || !ip.IsLoopback(), "port "+p.Published+" is open to others")
	}
	for _, v := range s.Volumes {
		bad(v.Type != types.VolumeTypeVolume || v.Source == "", v.Target+" is not a named volume")
	}
	for on, d := range s.DependsOn {
		bad(d.Condition == types.ServiceConditionStarted, "it does not wait until "+on+" is well")
	}
	return wrong
}

func TestRun09ComposeFilesAreCareful(t *testing.T) {
	for _, file := range composeFiles(t) {
		p := loadCompose(t, file)
		built := 0
		for name, s := range p.Services {
			for _, what := range careless(s) {
				t.Errorf("%s: %s: %s", filepath.Base(file), name, what)
			}
			if s.Build != nil {
				built++
				if _, err := os.Stat(filepath.Join(s.Build.Context, s.Build.Dockerfile)); err != nil {
					t.Errorf("%s: %s: %v", filepath.Base(file), name, err)
				}
			}
		}
		if built != 1 {
			t.Errorf("%s builds %d images", filepath.Base(file), built)
		}
		for name, c := range p.Configs {
			if _, err := os.Stat(c.File); err != nil || c.Content != "" {
				t.Errorf("%s: the file %s: %v", filepath.Base(file), name, err)
			}
		}
	}
}

func TestRun09CarelessServicesAreFound(t *testing.T) {
	good := loadCompose(t, filepath.Join(root, "docker-compose.yml")).Services["gateway-1"]
	for what, spoil := range map[string]func(*types.ServiceConfig){
		"root":       func(s *types.ServiceConfig) { s.User = "0:0" },
		"user":       func(s *types.ServiceConfig) { s.User = "" },
		"writable":   func(s *types.ServiceConfig) { s.ReadOnly = false },
		"capability": func(s *types.ServiceConfig) { s.CapAdd = []string{"NET_ADMIN"} },
		"latest":     func(s *types.ServiceConfig) { s.Image = "nats:latest" },
		"minor":      func(s *types.ServiceConfig) { s.Image = "nats:2.12-alpine" },
		"port":       func(s *types.ServiceConfig) { s.Ports = []types.ServicePortConfig{{Published: "6001"}} },
		"condition": func(s *types.ServiceConfig) {
			s.DependsOn = types.DependsOnConfig{"x": {Condition: types.ServiceConditionStarted}}
		},
		"folder": func(s *types.ServiceConfig) {
			s.Volumes = []types.ServiceVolumeConfig{{Type: types.VolumeTypeBind, Source: "/", Target: "/data"}}
		},
		"memory": func(s *types.ServiceConfig) { s.MemLimit = 0 },
	} {
		s := good
		if spoil(&s); len(careless(s)) == 0 {
			t.Errorf("%s: nothing is found", what)
		}
	}
}

// TestRun09GatewaysHaveTimeToStop: the supervisor waits for both times of the file.
func TestRun09GatewaysHaveTimeToStop(t *testing.T) {
	gateways := 0
	for _, file := range composeFiles(t) {
		p := loadCompose(t, file)
		for name, s := range p.Services {
			if s.Image != "sluice:local" {
				continue
			}
			gateways++
			c, err := configs.Load(configs.Sources{File: p.Configs[s.Configs[0].Source].File})
			if err != nil {
				t.Fatal(err)
			}
			if s.StopGracePeriod == nil || time.Duration(*s.StopGracePeriod) < c.ReadyDelay+c.Drain+5*time.Second {
				t.Errorf("%s: %s has %v for %v and %v", filepath.Base(file), name, s.StopGracePeriod, c.ReadyDelay, c.Drain)
			}
			if want := []string{"serve", "--config", s.Configs[0].Target}; !slices.Equal(s.Command, want) {
				t.Errorf("%s: %s is called with %v, not %v", filepath.Base(file), name, s.Command, want)
			}
			for _, port := range s.Ports {
				if int(port.Target) != c.Port {
					t.Errorf("%s: %s listens on %d, not on %d", filepath.Base(file), name, c.Port, port.Target)
				}
			}
		}
	}
	if gateways < 6 {
		t.Errorf("only %d gateways were found", gateways)
	}
}

// TestRun09TheServersOfTheClusterAreTheirs: what the Compose file and the file of the NATS
// servers say belongs together.
func TestRun09TheServersOfTheClusterAreTheirs(t *testing.T) {
	p := loadCompose(t, filepath.Join(root, "docker-compose.yml"))
	o, err := server.ProcessConfigFile(p.Configs["nats"].File)
	if err != nil {
		t.Fatal(err)
	}
	var routes []string
	for _, r := range o.Routes {
		routes = append(routes, r.Hostname())
	}
	for _, name := range routes {
		s, ok := p.Services[name]
		if !ok || !slices.Contains(s.Command, name) || s.Volumes[0].Target != o.StoreDir {
			t.Errorf("%s: %v, %v", name, s.Command, s.Volumes)
		}
		if test := strings.Join(s.HealthCheck.Test, " "); !strings.Contains(test, "127.0.0.1:8222/healthz") || o.HTTPHost != "127.0.0.1" || o.HTTPPort != 8222 {
			t.Errorf("%s is asked by %s, and answers at %s:%d", name, test, o.HTTPHost, o.HTTPPort)
		}
		if time.Duration(*s.StopGracePeriod) < o.LameDuckGracePeriod+10*time.Second {
			t.Errorf("%s has %v to stop", name, s.StopGracePeriod)
		}
	}
	if len(routes) != 3 || o.SystemAccount != "SYS" || o.JetStreamMaxStore < 4<<30 {
		t.Errorf("routes %v, system account %q, %d bytes", routes, o.SystemAccount, o.JetStreamMaxStore)
	}
}
