package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/disk"
	"github.com/shirou/gopsutil/v4/host"
	"github.com/shirou/gopsutil/v4/load"
	"github.com/shirou/gopsutil/v4/mem"
	"github.com/shirou/gopsutil/v4/net"
	"github.com/shirou/gopsutil/v4/process"
)

// Bounds that keep a message near a kilobyte on machines with many devices.
const (
	mostCores      = 8 // with details; of the others only how busy they are
	mostDisks      = 4
	mostInterfaces = 4
	mostProcesses  = 8
)

// facet is one message: the present state of one device of the machine.
type facet struct {
	event, device string
	data          []byte
}

// head is the beginning of every message. All members keep their order, so that a message resembles the previous
// one.
type head struct {
	Device  string  `json:"device"`
	Host    string  `json:"host"`
	Sample  uint64  `json:"sample"`
	Time    string  `json:"time"`
	Seconds float64 `json:"seconds"`
}

// sampler reads the state of the machine. It keeps the counters of the previous sample, to compute rates. It is
// not safe for concurrent use.
type sampler struct {
	info            host.InfoStat
	chip            cpu.InfoStat
	cores, physical int

	samples     uint64
	at          time.Time
	total       cpu.TimesStat
	perCore     []cpu.TimesStat
	misc        load.MiscStat
	memoryTotal uint64
	disks       map[string]disk.IOCountersStat
	nets        map[string]net.IOCountersStat
	processes   map[int32]*process.Process
}

// newSampler reads what does not change, and the first values of the counters.
func newSampler(ctx context.Context) (*sampler, error) {
	info, err := host.InfoWithContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the host's description: %w", err)
	}
	s := &sampler{info: *info, processes: map[int32]*process.Process{}}
	// A machine that does not describe its processor is still worth showing.
	if cpus, err := cpu.InfoWithContext(ctx); err == nil && len(cpus) > 0 {
		s.chip = cpus[0]
	}
	s.cores, _ = cpu.CountsWithContext(ctx, true)
	s.physical, _ = cpu.CountsWithContext(ctx, false)
	_, _ = s.sample(ctx, time.Now())
	s.samples = 0
	return s, nil
}

// sample reads everything once. It omits a facet that cannot be read, and returns its error.
func (s *sampler) sample(ctx context.Context, now time.Time) ([]facet, []error) {
	s.samples++
	h := head{Host: s.info.Hostname, Sample: s.samples, Time: now.UTC().Format("2006-01-02T15:04:05.000Z"), Seconds: round(now.Sub(s.at).Seconds(), 3)}
	s.at = now
	var out []facet
	var errs []error
	add := func(event, device string, message any, err error) {
		if err == nil {
			var data []byte
			if data, err = json.Marshal(message); err == nil {
				out = append(out, facet{event, device, data})
				return
			}
		}
		errs = append(errs, fmt.Errorf("%s: %w", device, err))
	}
	h.Device = "cpu"
	message, err := s.cpu(ctx, h)
	add("cpu", h.Device, message, err)
	h.Device = "memory"
	memory, err := s.memory(ctx, h)
	add("memory", h.Device, memory, err)
	h.Device = "host"
	general, err := s.general(ctx, h)
	add("host", h.Device, general, err)
	disks, err := s.disk(ctx, h)
	for i := range disks {
		add("disk", disks[i].Device, &disks[i], nil)
	}
	if err != nil {
		errs = append(errs, fmt.Errorf("disks: %w", err))
	}
	nets, err := s.network(ctx, h)
	for i := range nets {
		add("network", nets[i].Device, &nets[i], nil)
	}
	if err != nil {
		errs = append(errs, fmt.Errorf("network: %w", err))
	}
	h.Device = "processes"
	top, err := s.top(ctx, h)
	add("processes", h.Device, top, err)
	return out, errs
}

type shares struct {
	Busy   float64 `json:"busy_percent"`
	User   float64 `json:"user_percent"`
	System float64 `json:"system_percent"`
	Nice   float64 `json:"nice_percent"`
	IOWait float64 `json:"iowait_percent"`
	IRQ    float64 `json:"irq_percent"`
	Steal  float64 `json:"steal_percent"`
	Idle   float64 `json:"idle_percent"`
}

type core struct {
	Core int `json:"core"`
	shares
}

type cpuMessage struct {
	head
	Vendor   string    `json:"vendor"`
	Model    string    `json:"model"`
	Family   string    `json:"family"`
	Stepping int32     `json:"stepping"`
	MHz      float64   `json:"mhz"`
	Cache    int32     `json:"cache_kib"`
	Physical int       `json:"physical_cores"`
	Count    int       `json:"logical_cores"`
	Total    shares    `json:"total"`
	Cores    []core    `json:"cores"`
	Rest     []float64 `json:"other_cores_busy_percent,omitempty"`
}

func (s *sampler) cpu(ctx context.Context, h head) (*cpuMessage, error) {
	total, err := cpu.TimesWithContext(ctx, false)
	if err != nil {
		return nil, err
	}
	each, err := cpu.TimesWithContext(ctx, true)
	if err != nil {
		return nil, err
	}
	m := &cpuMessage{
		head: h, Vendor: s.chip.VendorID, Model: s.chip.ModelName, Family: s.chip.Family, Stepping: s.chip.Stepping,
		MHz: s.chip.Mhz, Cache: s.chip.CacheSize, Physical: s.physical, Count: s.cores,
	}
	if len(total) > 0 {
		m.Total = share(s.total, total[0])
		s.total = total[0]
	}
	if len(s.perCore) != len(each) {
		s.perCore = each // the number of cores has changed, so rates begin again
	}
	for i, now := range each {
		sh := share(s.perCore[i], now)
		if i < mostCores {
			m.Cores = append(m.Cores, core{i, sh})
		} else {
			m.Rest = append(m.Rest, sh.Busy)
		}
	}
	s.perCore = each
	return m, nil
}

// share returns how the time between two readings was spent.
func share(a, b cpu.TimesStat) shares {
	sum := func(t cpu.TimesStat) float64 {
		return t.User + t.System + t.Nice + t.Iowait + t.Irq + t.Softirq + t.Steal + t.Idle
	}
	all := sum(b) - sum(a)
	if all <= 0 {
		return shares{}
	}
	percent := func(from, to float64) float64 {
		return round(min(100, max(0, 100*(to-from)/all)), 1)
	}
	idle := percent(a.Idle+a.Iowait, b.Idle+b.Iowait)
	return shares{
		Busy: round(100-idle, 1), User: percent(a.User, b.User), System: percent(a.System, b.System), Nice: percent(a.Nice, b.Nice),
		IOWait: percent(a.Iowait, b.Iowait), IRQ: percent(a.Irq+a.Softirq, b.Irq+b.Softirq), Steal: percent(a.Steal, b.Steal),
		Idle: percent(a.Idle, b.Idle),
	}
}

type swapMessage struct {
	Total   uint64  `json:"total_bytes"`
	Used    uint64  `json:"used_bytes"`
	Free    uint64  `json:"free_bytes"`
	Percent float64 `json:"used_percent"`
	In      uint64  `json:"swapped_in_bytes"`
	Out     uint64  `json:"swapped_out_bytes"`
	Faults  uint64  `json:"page_faults"`
	Major   uint64  `json:"major_page_faults"`
}

type memoryMessage struct {
	head
	Total     uint64      `json:"total_bytes"`
	Available uint64      `json:"available_bytes"`
	Used      uint64      `json:"used_bytes"`
	Percent   float64     `json:"used_percent"`
	Free      uint64      `json:"free_bytes"`
	Active    uint64      `json:"active_bytes"`
	Inactive  uint64      `json:"inactive_bytes"`
	Buffers   uint64      `json:"buffers_bytes"`
	Cached    uint64      `json:"cached_bytes"`
	Dirty     uint64      `json:"dirty_bytes"`
	Writeback uint64      `json:"writeback_bytes"`
	Shared    uint64      `json:"shared_bytes"`
	Slab      uint64      `json:"slab_bytes"`
	Reclaim   uint64      `json:"slab_reclaimable_bytes"`
	Tables    uint64      `json:"page_tables_bytes"`
	Mapped    uint64      `json:"mapped_bytes"`
	Committed uint64      `json:"committed_bytes"`
	Limit     uint64      `json:"commit_limit_bytes"`
	Vmalloc   uint64      `json:"vmalloc_total_bytes"`
	HugeTotal uint64      `json:"huge_pages_total"`
	HugeFree  uint64      `json:"huge_pages_free"`
	HugeSize  uint64      `json:"huge_page_bytes"`
	Swap      swapMessage `json:"swap"`
}

func (s *sampler) memory(ctx context.Context, h head) (*memoryMessage, error) {
	v, err := mem.VirtualMemoryWithContext(ctx)
	if err != nil {
		return nil, err
	}
	w, err := mem.SwapMemoryWithContext(ctx)
	if err != nil {
		return nil, err
	}
	s.memoryTotal = v.Total
	return &memoryMessage{
		head: h, Total: v.Total, Available: v.Available, Used: v.Used, Percent: round(v.UsedPercent, 2), Free: v.Free,
		Active: v.Active, Inactive: v.Inactive, Buffers: v.Buffers, Cached: v.Cached, Dirty: v.Dirty, Writeback: v.WriteBack,
		Shared: v.Shared, Slab: v.Slab, Reclaim: v.Sreclaimable, Tables: v.PageTables, Mapped: v.Mapped, Committed: v.CommittedAS, Limit: v.CommitLimit,
		Vmalloc: v.VmallocTotal, HugeTotal: v.HugePagesTotal, HugeFree: v.HugePagesFree, HugeSize: v.HugePageSize,
		// gopsutil multiplies the number of faults by a page size of 4 KiB.
		Swap: swapMessage{w.Total, w.Used, w.Free, round(w.UsedPercent, 2), w.Sin, w.Sout, w.PgFault / 4096, w.PgMajFault / 4096},
	}, nil
}

type hostMessage struct {
	head
	OS             string  `json:"os"`
	Platform       string  `json:"platform"`
	Version        string  `json:"platform_version"`
	Kernel         string  `json:"kernel_version"`
	Architecture   string  `json:"architecture"`
	Virtualization string  `json:"virtualization"`
	Role           string  `json:"virtualization_role"`
	Chip           string  `json:"processor"`
	Memory         uint64  `json:"memory_bytes"`
	Boot           string  `json:"boot_time"`
	Uptime         uint64  `json:"uptime_seconds"`
	Load1          float64 `json:"load_1_minute"`
	Load5          float64 `json:"load_5_minutes"`
	Load15         float64 `json:"load_15_minutes"`
	Load1PerCore   float64 `json:"load_1_minute_per_core"`
	Load5PerCore   float64 `json:"load_5_minutes_per_core"`
	Running        int     `json:"processes_running"`
	Blocked        int     `json:"processes_blocked"`
	Created        int     `json:"processes_created"`
	CreationRate   float64 `json:"processes_created_per_second"`
	Switches       int     `json:"context_switches"`
	SwitchRate     float64 `json:"context_switches_per_second"`
}

func (s *sampler) general(ctx context.Context, h head) (*hostMessage, error) {
	avg, err := load.AvgWithContext(ctx)
	if err != nil {
		return nil, err
	}
	m := &hostMessage{
		head: h, OS: s.info.OS, Platform: s.info.Platform, Version: s.info.PlatformVersion, Kernel: s.info.KernelVersion,
		Architecture: s.info.KernelArch, Virtualization: s.info.VirtualizationSystem, Role: s.info.VirtualizationRole,
		Chip: s.chip.ModelName, Memory: s.memoryTotal,
		Boot: time.Unix(int64(s.info.BootTime), 0).UTC().Format(time.RFC3339), Uptime: uint64(max(0, s.at.Unix()-int64(s.info.BootTime))),
		Load1: round(avg.Load1, 2), Load5: round(avg.Load5, 2), Load15: round(avg.Load15, 2),
		Load1PerCore: round(avg.Load1/float64(max(1, s.cores)), 3), Load5PerCore: round(avg.Load5/float64(max(1, s.cores)), 3),
	}
	// Not every system has these counters.
	if misc, err := load.MiscWithContext(ctx); err == nil {
		m.Running, m.Blocked, m.Created, m.Switches = misc.ProcsRunning, misc.ProcsBlocked, misc.ProcsCreated, misc.Ctxt
		m.CreationRate = rate(uint64(s.misc.ProcsCreated), uint64(misc.ProcsCreated), h.Seconds)
		m.SwitchRate = rate(uint64(s.misc.Ctxt), uint64(misc.Ctxt), h.Seconds)
		s.misc = *misc
	}
	return m, nil
}

// rate returns the growth of a counter per second, 0 if it was reset.
func rate(before, now uint64, seconds float64) float64 {
	if now < before || seconds <= 0 {
		return 0
	}
	return round(float64(now-before)/seconds, 1)
}

func round(v float64, digits int) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	p := math.Pow10(digits)
	return math.Round(v*p) / p
}

// sorted returns the n largest values, or fewer.
func sorted[T any, K cmp.Ordered](values []T, key func(T) K, n int) []T {
	slices.SortStableFunc(values, func(a, b T) int { return cmp.Compare(key(b), key(a)) })
	return values[:min(n, len(values))]
}
