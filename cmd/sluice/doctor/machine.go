package doctor

import (
	"io/fs"
	"strconv"
	"strings"
)

// Machine has the limits of the system for a process. Unknown numbers are -1.
type Machine struct {
	// Linux reports whether the limits of the kernel are known.
	Linux bool
	// Files is the limit of descriptors of this process, MostFiles the highest limit of any process, and
	// AllFiles that of all processes together.
	Files, MostFiles, AllFiles int64
	Somaxconn, SynBacklog      int64
	FirstPort, LastPort        int64
	// Memory is the memory for the process: its own limit, that of the cgroup, or the memory of the machine.
	// Wanted is a limit of its own that exceeds what exists, 0 if it does not.
	Memory, Wanted int64
	// TCPPages is the limit of memory pages of all sockets, and Page the size of a page.
	TCPPages, Page           int64
	SendMax, SendBufferMax   int64 // of a socket with automatic tuning, and of one with a set buffer
	ConntrackMax, Overcommit int64
}

// ReadMachine reads the limits of the kernel below the root of a file system. The caller adds descriptors and
// memory.
func ReadMachine(root fs.FS) Machine {
	line := func(path string) string {
		text, err := fs.ReadFile(root, "proc/sys/"+path)
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(text))
	}
	field := func(path string, n int) int64 {
		fields := strings.Fields(line(path))
		if n >= len(fields) {
			return -1
		}
		v, err := strconv.ParseInt(fields[n], 10, 64)
		if err != nil {
			return -1
		}
		return v
	}
	m := Machine{
		MostFiles: field("fs/nr_open", 0), AllFiles: field("fs/file-max", 0), Somaxconn: field("net/core/somaxconn", 0),
		SynBacklog: field("net/ipv4/tcp_max_syn_backlog", 0), FirstPort: field("net/ipv4/ip_local_port_range", 0), LastPort: field("net/ipv4/ip_local_port_range", 1),
		TCPPages: field("net/ipv4/tcp_mem", 2), Page: 4096, SendMax: field("net/ipv4/tcp_wmem", 2), SendBufferMax: field("net/core/wmem_max", 0),
		ConntrackMax: field("net/netfilter/nf_conntrack_max", 0), Overcommit: field("vm/overcommit_memory", 0),
		Files: -1, Memory: -1,
	}
	m.Linux = m.MostFiles >= 0 || m.AllFiles >= 0
	return m
}

// Load is the expected load of a gateway.
type Load struct {
	// Connections is the number of concurrent connections.
	Connections int64
	// Reserve is the number of reserved descriptors.
	Reserve int64
	// SendBuffer is the configured send buffer of each socket, 0 for the system's default.
	SendBuffer int64
	// RedisHere is set if Redis is on this machine.
	RedisHere bool
}

// The memory of a connection, in bytes.
const (
	perConnection = 8 << 10 // in the process
	perSocket     = 4 << 10 // in the kernel, for an idle socket
	slowShare     = 100     // one of so many is slow at a time
)

// JudgeMachine compares the limits of a machine with the expected load.
func JudgeMachine(m Machine, l Load) []Finding {
	f := &findings{area: "machine"}
	n := l.Connections
	judgeFiles(f, m, l)
	if m.Wanted > 0 {
		f.warn("memory.limit", "Lower memory.limit (or GOMEMLIMIT).", "the process may use %s and there are %s: the system would end it before it refuses anybody", bytesOf(m.Wanted), bytesOf(m.Memory))
	}
	if m.Memory > 0 {
		need := n * (perConnection + perSocket)
		switch {
		case need > m.Memory*3/4:
			f.fail("memory", "Give it more memory, or spread the connections over more gateways.", "%d idle connections take %s of %s, before a single message", n, bytesOf(need), bytesOf(m.Memory))
		case need > m.Memory/3:
			f.warn("memory", "Watch go_memstats and the cgroup under load, or give it more.", "%d idle connections take %s of %s", n, bytesOf(need), bytesOf(m.Memory))
		default:
			f.fine("memory", "%d idle connections take %s of %s", n, bytesOf(need), bytesOf(m.Memory))
		}
	}
	if !m.Linux {
		f.note("kernel", "", "the limits of the kernel are looked at on Linux only")
		return f.all
	}
	judgeKernel(f, m, l)
	return f.all
}

func judgeFiles(f *findings, m Machine, l Load) {
	need := l.Connections + l.Reserve
	if m.Files < 0 {
		return
	}
	switch {
	case m.Files < need:
		f.fail("descriptors", "Raise it: LimitNOFILE in the unit of systemd, ulimits in Docker, /etc/security/limits.conf elsewhere.",
			"this process may have %d descriptors at most, and %d connections need %d", m.Files, l.Connections, need)
	case m.Files < need+need/5:
		f.warn("descriptors", "Raise it, so that a storm of reconnects has room.", "this process may have %d descriptors at most, and %d connections need %d: less than a fifth is to spare", m.Files, l.Connections, need)
	default:
		f.fine("descriptors", "this process may have %d, and %d connections need %d; a unit of systemd or a container may have another limit", m.Files, l.Connections, need)
	}
	if m.MostFiles >= 0 && m.MostFiles < need {
		f.fail("fs.nr_open", "sysctl -w fs.nr_open="+strconv.FormatInt(roundUp(need), 10), "no process may have more than %d descriptors, and %d are needed", m.MostFiles, need)
	}
	if m.AllFiles >= 0 && m.AllFiles < 2*need {
		f.warn("fs.file-max", "sysctl -w fs.file-max="+strconv.FormatInt(roundUp(4*need), 10), "all processes together may have %d descriptors, and this one needs %d", m.AllFiles, need)
	}
}

func judgeKernel(f *findings, m Machine, l Load) {
	n := l.Connections
	// A tenth of all clients may reconnect at once, for example after a restart of the proxy.
	burst := min(max(n/10, 128), 65535)
	queue := func(check string, have int64) {
		switch {
		case have < 0:
		case have < burst:
			f.warn(check, "sysctl -w "+check+"="+strconv.FormatInt(roundUp(burst), 10), "%d connections may wait to be accepted; after a restart of a proxy a tenth of %d come at once", have, n)
		default:
			f.fine(check, "%d connections may wait to be accepted, want %d", have, burst)
		}
	}
	queue("net.core.somaxconn", m.Somaxconn)
	queue("net.ipv4.tcp_max_syn_backlog", m.SynBacklog)
	if ports := m.LastPort - m.FirstPort + 1; m.FirstPort >= 0 && m.LastPort >= 0 {
		if ports < n {
			f.warn("net.ipv4.ip_local_port_range", `sysctl -w net.ipv4.ip_local_port_range="1024 65535", and give a proxy several addresses to connect from or to.`,
				"there are %d local ports: a proxy or a load generator on one address reaches no more than so many connections, and %d are expected", ports, n)
		} else {
			f.fine("net.ipv4.ip_local_port_range", "a proxy on one address can make %d connections", ports)
		}
	}
	if all := m.TCPPages * m.Page; m.TCPPages >= 0 {
		if all < n*2*perSocket {
			f.warn("net.ipv4.tcp_mem", "Raise its third number.", "all sockets together may have %s of the kernel, and %d connections take %s before any of them is slow", bytesOf(all), n, bytesOf(n*perSocket))
		} else {
			f.fine("net.ipv4.tcp_mem", "all sockets together may have %s of the kernel", bytesOf(all))
		}
	}
	if slow := n / slowShare * m.SendMax; l.SendBuffer == 0 && m.SendMax > 0 && m.Memory > 0 && slow > m.Memory/4 {
		f.warn("net.ipv4.tcp_wmem", "Set websocket.send_buffer, for example to 64 KiB.", "the kernel takes up to %s for a socket that does not read; one in %d of %d connections would be %s", bytesOf(m.SendMax), slowShare, n, bytesOf(slow))
	}
	if l.SendBuffer > 0 && m.SendBufferMax >= 0 && l.SendBuffer > m.SendBufferMax {
		f.warn("net.core.wmem_max", "sysctl -w net.core.wmem_max="+strconv.FormatInt(l.SendBuffer, 10), "websocket.send_buffer is %s, and the kernel gives %s at most", bytesOf(l.SendBuffer), bytesOf(m.SendBufferMax))
	}
	switch {
	case m.ConntrackMax < 0:
	case m.ConntrackMax < n:
		f.fail("net.netfilter.nf_conntrack_max", "sysctl -w net.netfilter.nf_conntrack_max="+strconv.FormatInt(roundUp(4*n), 10), "the firewall follows %d connections, and %d are expected: what comes beyond is dropped without a word", m.ConntrackMax, n)
	case m.ConntrackMax < 2*n:
		f.warn("net.netfilter.nf_conntrack_max", "sysctl -w net.netfilter.nf_conntrack_max="+strconv.FormatInt(roundUp(4*n), 10), "the firewall follows %d connections, old ones for a while after their end, and %d are expected", m.ConntrackMax, n)
	default:
		f.fine("net.netfilter.nf_conntrack_max", "the firewall follows %d connections", m.ConntrackMax)
	}
	switch {
	case m.Overcommit == 2:
		f.warn("vm.overcommit_memory", "sysctl -w vm.overcommit_memory=0, or set memory.limit well below what is free.", "it is 2: the kernel may refuse memory that is free, and a process in Go reserves more than it uses")
	case m.Overcommit == 0 && l.RedisHere:
		f.warn("vm.overcommit_memory", "sysctl -w vm.overcommit_memory=1", "Redis is on this machine, and with 0 it may fail to save when its memory is large")
	}
}

// roundUp returns the next power of two.
func roundUp(n int64) int64 {
	p := int64(1)
	for p < n {
		p *= 2
	}
	return p
}
