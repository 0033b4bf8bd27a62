package main

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/shirou/gopsutil/v4/disk"
	"github.com/shirou/gopsutil/v4/net"
	"github.com/shirou/gopsutil/v4/process"
)

type diskMessage struct {
	head
	Source         string  `json:"source"`
	Mount          string  `json:"mount"`
	Type           string  `json:"type"`
	Options        string  `json:"options"`
	Total          uint64  `json:"total_bytes"`
	Used           uint64  `json:"used_bytes"`
	Free           uint64  `json:"free_bytes"`
	Percent        float64 `json:"used_percent"`
	Inodes         uint64  `json:"inodes_total"`
	InodesUsed     uint64  `json:"inodes_used"`
	InodesPercent  float64 `json:"inodes_used_percent"`
	Reads          uint64  `json:"reads"`
	Writes         uint64  `json:"writes"`
	ReadBytes      uint64  `json:"read_bytes"`
	WriteBytes     uint64  `json:"write_bytes"`
	ReadTime       uint64  `json:"read_time_ms"`
	WriteTime      uint64  `json:"write_time_ms"`
	Pending        uint64  `json:"requests_pending"`
	ReadsPerSecond float64 `json:"reads_per_second"`
	WritesPer      float64 `json:"writes_per_second"`
	ReadRate       float64 `json:"read_bytes_per_second"`
	WriteRate      float64 `json:"write_bytes_per_second"`
	MeanRead       float64 `json:"mean_read_time_ms"`
	MeanWrite      float64 `json:"mean_write_time_ms"`
	BusyPercent    float64 `json:"busy_percent"`
}

// disk returns the state of the largest file systems.
func (s *sampler) disk(ctx context.Context, h head) ([]diskMessage, error) {
	counters, err := disk.IOCountersWithContext(ctx)
	if err != nil {
		counters = nil // not every system has counters; sizes are available anyway
	}
	before := s.disks
	s.disks = counters
	parts, err := mounts(ctx)
	if err != nil {
		return nil, err
	}
	var out []diskMessage
	for _, p := range parts {
		u, err := disk.UsageWithContext(ctx, p.Mountpoint)
		if err != nil || u.Total == 0 {
			continue // it is gone or not accessible
		}
		m := diskMessage{
			head: h, Source: p.Device, Mount: p.Mountpoint, Type: u.Fstype, Options: strings.Join(p.Opts, ","),
			Total: u.Total, Used: u.Used, Free: u.Free, Percent: round(u.UsedPercent, 2),
			Inodes: u.InodesTotal, InodesUsed: u.InodesUsed, InodesPercent: round(u.InodesUsedPercent, 2),
		}
		m.Device = "disk:" + p.Mountpoint
		name := filepath.Base(p.Device)
		if c, ok := counters[name]; ok {
			b := before[name]
			m.Reads, m.Writes, m.ReadBytes, m.WriteBytes = c.ReadCount, c.WriteCount, c.ReadBytes, c.WriteBytes
			m.ReadTime, m.WriteTime, m.Pending = c.ReadTime, c.WriteTime, c.IopsInProgress
			m.ReadsPerSecond, m.WritesPer = rate(b.ReadCount, c.ReadCount, h.Seconds), rate(b.WriteCount, c.WriteCount, h.Seconds)
			m.ReadRate, m.WriteRate = rate(b.ReadBytes, c.ReadBytes, h.Seconds), rate(b.WriteBytes, c.WriteBytes, h.Seconds)
			m.MeanRead, m.MeanWrite = mean(c.ReadTime, c.ReadCount), mean(c.WriteTime, c.WriteCount)
			m.BusyPercent = min(100, round(rate(b.IoTime, c.IoTime, h.Seconds)/10, 1))
		}
		out = append(out, m)
	}
	return sorted(out, func(m diskMessage) uint64 { return m.Total }, mostDisks), nil
}

// mounts lists each file system once. In a container single files are mounted as well, often several from one
// device; the root is always included.
func mounts(ctx context.Context) ([]disk.PartitionStat, error) {
	parts, err := disk.PartitionsWithContext(ctx, false)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	var out []disk.PartitionStat
	root := false
	slices.SortStableFunc(parts, func(a, b disk.PartitionStat) int { return cmp.Compare(len(a.Mountpoint), len(b.Mountpoint)) })
	for _, p := range parts {
		if st, err := os.Stat(p.Mountpoint); err != nil || !st.IsDir() || seen[p.Device] {
			continue
		}
		seen[p.Device] = true
		root = root || p.Mountpoint == "/"
		out = append(out, p)
	}
	if !root && filepath.Separator == '/' {
		out = append(out, disk.PartitionStat{Device: "root", Mountpoint: "/"})
	}
	return out, nil
}

type networkMessage struct {
	head
	Interface       string  `json:"interface"`
	Flags           string  `json:"flags"`
	MTU             int     `json:"mtu"`
	Received        uint64  `json:"received_bytes"`
	Sent            uint64  `json:"sent_bytes"`
	PacketsReceived uint64  `json:"received_packets"`
	PacketsSent     uint64  `json:"sent_packets"`
	ErrorsIn        uint64  `json:"receive_errors"`
	ErrorsOut       uint64  `json:"send_errors"`
	DropsIn         uint64  `json:"receive_drops"`
	DropsOut        uint64  `json:"send_drops"`
	FIFOIn          uint64  `json:"receive_fifo_errors"`
	FIFOOut         uint64  `json:"send_fifo_errors"`
	ReceiveRate     float64 `json:"received_bytes_per_second"`
	SendRate        float64 `json:"sent_bytes_per_second"`
	PacketsInRate   float64 `json:"received_packets_per_second"`
	PacketsOutRate  float64 `json:"sent_packets_per_second"`
	ReceiveBits     float64 `json:"received_bits_per_second"`
	SendBits        float64 `json:"sent_bits_per_second"`
	MeanIn          float64 `json:"mean_received_packet_bytes"`
	MeanOut         float64 `json:"mean_sent_packet_bytes"`
}

// network returns the state of the busiest interfaces. Addresses are omitted: whoever may see the load of a
// machine need not learn where it is.
func (s *sampler) network(ctx context.Context, h head) ([]networkMessage, error) {
	counters, err := net.IOCountersWithContext(ctx, true)
	if err != nil {
		return nil, err
	}
	// Flags and MTU are optional.
	links := map[string]net.InterfaceStat{}
	if list, err := net.InterfacesWithContext(ctx); err == nil {
		for _, l := range list {
			links[l.Name] = l
		}
	}
	now := make(map[string]net.IOCountersStat, len(counters))
	out := make([]networkMessage, 0, len(counters))
	for _, c := range counters {
		now[c.Name] = c
		if c.BytesRecv+c.BytesSent == 0 {
			continue // not in use
		}
		b := s.nets[c.Name]
		m := networkMessage{
			head: h, Interface: c.Name, Flags: strings.Join(links[c.Name].Flags, ","), MTU: links[c.Name].MTU, Received: c.BytesRecv, Sent: c.BytesSent, PacketsReceived: c.PacketsRecv, PacketsSent: c.PacketsSent,
			ErrorsIn: c.Errin, ErrorsOut: c.Errout, DropsIn: c.Dropin, DropsOut: c.Dropout, FIFOIn: c.Fifoin, FIFOOut: c.Fifoout,
			ReceiveRate: rate(b.BytesRecv, c.BytesRecv, h.Seconds), SendRate: rate(b.BytesSent, c.BytesSent, h.Seconds),
			PacketsInRate: rate(b.PacketsRecv, c.PacketsRecv, h.Seconds), PacketsOutRate: rate(b.PacketsSent, c.PacketsSent, h.Seconds),
			MeanIn: mean(c.BytesRecv, c.PacketsRecv), MeanOut: mean(c.BytesSent, c.PacketsSent),
		}
		m.ReceiveBits, m.SendBits = 8*m.ReceiveRate, 8*m.SendRate
		m.Device = "network:" + c.Name
		out = append(out, m)
	}
	s.nets = now
	return sorted(out, func(m networkMessage) uint64 { return m.Received + m.Sent }, mostInterfaces), nil
}

func mean(sum, count uint64) float64 {
	return round(float64(sum)/float64(max(1, count)), 1)
}

type processEntry struct {
	PID     int32   `json:"pid"`
	Name    string  `json:"name"`
	CPU     float64 `json:"cpu_percent"`
	Memory  uint64  `json:"resident_bytes"`
	Threads int32   `json:"threads"`
	Started int64   `json:"started_ms"`
}

type processMessage struct {
	head
	Count int            `json:"count"`
	Top   []processEntry `json:"top"`
}

// top lists the busiest processes by name. Command lines are omitted, because they may contain secrets.
func (s *sampler) top(ctx context.Context, h head) (*processMessage, error) {
	pids, err := process.PidsWithContext(ctx)
	if err != nil {
		return nil, err
	}
	known := make(map[int32]*process.Process, len(pids))
	m := &processMessage{head: h, Count: len(pids), Top: []processEntry{}}
	for _, pid := range pids {
		p := s.processes[pid]
		if p == nil {
			p = &process.Process{Pid: pid}
		}
		busy, err := p.PercentWithContext(ctx, 0)
		if err != nil {
			continue // it has ended
		}
		known[pid] = p
		m.Top = append(m.Top, processEntry{PID: pid, CPU: round(busy, 1)})
	}
	s.processes = known
	slices.SortFunc(m.Top, func(a, b processEntry) int {
		return cmp.Or(cmp.Compare(b.CPU, a.CPU), cmp.Compare(a.PID, b.PID))
	})
	m.Top = m.Top[:min(mostProcesses, len(m.Top))]
	for i := range m.Top {
		e := &m.Top[i]
		p := known[e.PID]
		e.Name, _ = p.NameWithContext(ctx)
		e.Threads, _ = p.NumThreadsWithContext(ctx)
		e.Started, _ = p.CreateTimeWithContext(ctx)
		if info, err := p.MemoryInfoWithContext(ctx); err == nil {
			e.Memory = info.RSS
		}
	}
	return m, nil
}
