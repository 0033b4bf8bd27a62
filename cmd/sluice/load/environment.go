package load

import (
	"net"
	"os"
	"runtime"
	"strings"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/host"
	"github.com/shirou/gopsutil/v4/mem"

	"github.com/sluicehq/sluice/gateway/pusher"
)

// Environment describes where a run was made.
type Environment struct {
	Host   string `json:"host"`
	System string `json:"system"`
	Kernel string `json:"kernel"`
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Memory uint64 `json:"memory_bytes"`
	Go     string `json:"go"`
	// Generator is the version of this program, Server a description of the server, and Command the command line
	// without its secret.
	Generator string `json:"generator"`
	Server    string `json:"server"`
	URL       string `json:"url"`
	// SameMachine is set if the server is on this machine and shares its processors.
	SameMachine bool   `json:"same_machine"`
	Command     string `json:"command"`
}

// Here describes this machine. Unknown values stay empty.
func Here(server string) Environment {
	e := Environment{Cores: cores(), Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH, URL: server, SameMachine: isHere(server)}
	e.Host, _ = os.Hostname()
	e.Kernel, _ = host.KernelVersion()
	if infos, err := cpu.Info(); err == nil && len(infos) > 0 {
		e.CPU = strings.TrimSpace(infos[0].ModelName)
	}
	if m, err := mem.VirtualMemory(); err == nil {
		e.Memory = m.Total
	}
	return e
}

// isHere reports whether an address belongs to this machine.
func isHere(server string) bool {
	e, err := newEndpoint(server, "", nil)
	if err != nil {
		return false
	}
	ips, err := net.LookupIP(e.name)
	if err != nil {
		return false
	}
	own, _ := net.InterfaceAddrs()
	for _, ip := range ips {
		if ip.IsLoopback() {
			return true
		}
		for _, a := range own {
			if n, ok := a.(*net.IPNet); ok && n.IP.Equal(ip) {
				return true
			}
		}
	}
	return false
}

// channelType returns the kind of a run's channels.
func channelType(prefix string) string {
	switch kind := pusher.KindOf(prefix); {
	case kind.Presence():
		return "presence"
	case kind.NeedsAuth():
		return "private"
	}
	return "public"
}
