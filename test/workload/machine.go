package workload

// newIoT: the readings of one device in a plant, of which most change a little,
// 340 B.
func newIoT(s *source) func([]byte) ([]byte, string) {
	type device struct {
		id, firmware                       string
		temperature, humidity, pressure    float64
		battery, vibration, current, power float64
		uptime                             int64
	}
	devices := make([]device, 6)
	for i := range devices {
		devices[i] = device{
			id: "dev-" + s.hex(6), firmware: "2.4." + string(rune('0'+i)),
			temperature: 21 + 4*s.Float64(), humidity: 45, pressure: 1013, battery: 3.9,
			vibration: 0.02, current: 1.2, power: 280, uptime: s.Int64N(900_000),
		}
	}
	now := firstClock
	return func(b []byte) ([]byte, string) {
		d := &devices[s.IntN(len(devices))]
		d.temperature = s.walk(d.temperature, 0.15, -10, 60)
		d.humidity = s.walk(d.humidity, 0.3, 0, 100)
		d.pressure = s.walk(d.pressure, 0.08, 950, 1050)
		d.battery = s.walk(d.battery, 0.004, 3.1, 4.2)
		d.vibration = s.walk(d.vibration, 0.002, 0, 1)
		d.current = s.walk(d.current, 0.02, 0, 9)
		d.power = 230 * d.current
		d.uptime += 5
		b = append(b, `{"device":"`...)
		b = append(b, d.id...)
		b = append(b, `","site":"north-hall","firmware":"`...)
		b = append(b, d.firmware...)
		b = append(b, `","readings":{"temperature":`...)
		b = fixed(b, d.temperature, 2)
		b = append(b, `,"humidity":`...)
		b = fixed(b, d.humidity, 1)
		b = append(b, `,"pressure":`...)
		b = fixed(b, d.pressure, 2)
		b = append(b, `,"vibration":`...)
		b = fixed(b, d.vibration, 5)
		b = append(b, `,"current":`...)
		b = fixed(b, d.current, 3)
		b = append(b, `,"power":`...)
		b = fixed(b, d.power, 1)
		b = append(b, `},"battery":`...)
		b = fixed(b, d.battery, 3)
		b = append(b, `,"uptime":`...)
		b = integer(b, d.uptime)
		b = append(b, `,"ok":true,"time":`...)
		b = integer(b, now.tick(s, 800))
		return append(b, '}'), d.id
	}
}

// newDashboard: the figures of a shop's dashboard, a handful of which change in
// each message, 791 B.
func newDashboard(s *source) func([]byte) ([]byte, string) {
	names := []string{
		"activeUsers", "ordersToday", "revenueToday", "cartsOpen", "conversionRate", "averageOrder",
		"pageViews", "bounceRate", "searches", "checkoutErrors", "refundsToday", "newCustomers",
		"inventoryAlerts", "shipmentsPending", "supportTickets", "responseTimeMs",
	}
	values := make([]float64, len(names))
	for i := range values {
		values[i] = 100 + 9000*s.Float64()
	}
	now := firstClock
	return func(b []byte) ([]byte, string) {
		for range 3 {
			i := s.IntN(len(values))
			values[i] = s.walk(values[i], 30, 1, 99999)
		}
		b = append(b, `{"dashboard":"shop","updatedAt":`...)
		b = integer(b, now.tick(s, 1000))
		b = append(b, `,"figures":{`...)
		for i, name := range names {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, '"')
			b = append(b, name...)
			b = append(b, `":{"value":`...)
			b = fixed(b, values[i], i%3)
			b = append(b, `,"u":"`...)
			b = append(b, []string{"n", "pc", "eur"}[i%3]...)
			b = append(b, `"}`...)
		}
		return append(b, `}}`...), ""
	}
}

// newTelemetry: hosts of a fleet with different numbers of processors, disks
// and interfaces; loads wander, counters rise, 600 to 1500 B.
func newTelemetry(s *source) func([]byte) ([]byte, string) {
	type host struct {
		name, id   string
		load       [3]float64
		cpu        []float64
		memory     int64
		disks      []int64
		interfaces [][4]int64
		processes  int64
		uptime     int64
	}
	hosts := make([]*host, 8)
	for i := range hosts {
		h := &host{name: "node-" + s.hex(4) + ".fleet.example", id: s.hex(32), memory: 16 << 30, processes: 300, uptime: s.Int64N(9_000_000)}
		h.cpu = make([]float64, 2<<(i%3))
		for range 2 + i%3 {
			h.disks = append(h.disks, 200<<30+s.Int64N(100<<30))
			h.interfaces = append(h.interfaces, [4]int64{s.Int64N(1e12), s.Int64N(1e12), s.Int64N(1e9), s.Int64N(1e9)})
		}
		hosts[i] = h
	}
	now := firstClock
	return func(b []byte) ([]byte, string) {
		h := hosts[s.IntN(len(hosts))]
		b = append(b, `{"host":{"name":"`...)
		b = append(b, h.name...)
		b = append(b, `","id":"`...)
		b = append(b, h.id...)
		b = append(b, `","os":"linux","kernel":"6.12.9"},"time":`...)
		b = integer(b, now.tick(s, 1200))
		h.uptime += 10
		b = append(b, `,"uptime":`...)
		b = integer(b, h.uptime)
		b = append(b, `,"load":[`...)
		for i := range h.load {
			h.load[i] = s.walk(h.load[i], 0.3/float64(1+3*i), 0, float64(len(h.cpu)))
			b = fixed(b, h.load[i], 2)
			b = append(b, ',')
		}
		b[len(b)-1] = ']'
		b = append(b, `,"cpu":[`...)
		for i := range h.cpu {
			h.cpu[i] = s.walk(h.cpu[i], 6, 0, 100)
			b = append(b, `{"core":`...)
			b = integer(b, int64(i))
			b = append(b, `,"busy":`...)
			b = fixed(b, h.cpu[i], 1)
			b = append(b, `},`...)
		}
		b[len(b)-1] = ']'
		h.memory = max(1<<30, h.memory+int64(s.NormFloat64()*(4<<20)))
		b = append(b, `,"memory":{"total":68719476736,"used":`...)
		b = integer(b, h.memory)
		b = append(b, `,"swap":0},"disks":[`...)
		for i := range h.disks {
			if s.chance(0.4) {
				h.disks[i] += s.Int64N(1 << 20)
			}
			b = append(b, `{"device":"nvme`...)
			b = integer(b, int64(i))
			b = append(b, `n1","mount":"/srv/`...)
			b = integer(b, int64(i))
			b = append(b, `","total":1000204886016,"used":`...)
			b = integer(b, h.disks[i])
			b = append(b, `},`...)
		}
		b[len(b)-1] = ']'
		b = append(b, `,"network":[`...)
		for i := range h.interfaces {
			c := &h.interfaces[i]
			if i == 0 || s.chance(0.5) {
				for j := range c {
					c[j] += s.Int64N(1 << (20 - 10*(j/2)))
				}
			}
			b = append(b, `{"name":"eth`...)
			b = integer(b, int64(i))
			for j, field := range []string{`","rxBytes":`, `,"txBytes":`, `,"rxPackets":`, `,"txPackets":`} {
				b = append(b, field...)
				b = integer(b, c[j])
			}
			b = append(b, `,"errors":0},`...)
		}
		b[len(b)-1] = ']'
		h.processes = max(80, h.processes+s.Int64N(7)-3)
		b = append(b, `,"processes":`...)
		b = integer(b, h.processes)
		return append(b, '}'), h.name
	}
}
