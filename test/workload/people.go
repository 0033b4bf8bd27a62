package workload

// newGame: the state of a match of 42 players, a dozen of whom move, fire or
// are hit in each tick, 4.5 KB.
func newGame(s *source) func([]byte) ([]byte, string) {
	type player struct {
		id            string
		x, y, heading float64
		health, ammo  int64
		score         int64
		moving        bool
	}
	players := make([]player, 42)
	for i := range players {
		players[i] = player{id: "p" + s.hex(4), x: 1000 * s.Float64(), y: 1000 * s.Float64(), health: 100, ammo: 30, moving: i%4 == 0}
	}
	tick := int64(52_000)
	now := firstClock
	return func(b []byte) ([]byte, string) {
		tick++
		b = append(b, `{"match":81,"map":"harbour","tick":`...)
		b = integer(b, tick)
		b = append(b, `,"time":`...)
		b = integer(b, now.tick(s, 50))
		b = append(b, `,"players":[`...)
		for i := range players {
			p := &players[i]
			if s.chance(0.05) {
				p.moving = !p.moving
			}
			if p.moving {
				p.x = s.walk(p.x, 3, 0, 1000)
				p.y = s.walk(p.y, 3, 0, 1000)
				p.heading = s.walk(p.heading, 0.4, 0, 6.28)
			}
			if s.chance(0.06) {
				p.ammo = (p.ammo + 29) % 30
			}
			if s.chance(0.03) {
				p.health -= 7
				if p.health <= 0 {
					p.health, p.x, p.y = 100, 1000*s.Float64(), 1000*s.Float64()
				}
				players[s.IntN(len(players))].score += 25
			}
			b = append(b, `{"id":"`...)
			b = append(b, p.id...)
			b = append(b, `","pos":{"x":`...)
			b = fixed(b, p.x, 2)
			b = append(b, `,"y":`...)
			b = fixed(b, p.y, 2)
			b = append(b, `},"heading":`...)
			b = fixed(b, p.heading, 3)
			b = append(b, `,"health":`...)
			b = integer(b, p.health)
			b = append(b, `,"ammo":`...)
			b = integer(b, p.ammo)
			b = append(b, `,"score":`...)
			b = integer(b, p.score)
			b = append(b, `,"team":`...)
			b = integer(b, int64(i%2))
			b = append(b, `},`...)
		}
		b[len(b)-1] = ']'
		return append(b, '}'), ""
	}
}

var (
	people = []struct{ id, name string }{
		{"u1042", "Amara Okafor"}, {"u77", "Jürgen Weiß"}, {"u9120", "Li Na"}, {"u3", "Sofía Núñez"}, {"u555", "Sam Taylor"},
	}
	words = []string{
		"the", "a", "we", "you", "I", "should", "can", "deploy", "check", "the", "build", "again", "after", "lunch",
		"yes", "no", "maybe", "tomorrow", "café", "meeting", "at", "three", "graphs", "look", "better", "than", "last",
		"week", "and", "or", "please", "review", "this", "before", "it", "ships", "👍", "done", "latency", "is", "fine",
	}
)

// newChat: messages of people in a room; little repeats except the shape of the message, 284 B.
func newChat(s *source) func([]byte) ([]byte, string) {
	now := firstClock
	return func(b []byte) ([]byte, string) {
		p := people[s.IntN(len(people))]
		b = append(b, `{"id":"`...)
		b = append(b, s.hex(16)...)
		b = append(b, `","room":"room-42","from":{"id":"`...)
		b = append(b, p.id...)
		b = append(b, `","name":"`...)
		b = append(b, p.name...)
		b = append(b, `"},"text":"`...)
		for i := range 6 + s.IntN(14) {
			if i > 0 {
				b = append(b, ' ')
			}
			b = append(b, words[s.IntN(len(words))]...)
		}
		b = append(b, `","edited":false,"sentAt":`...)
		b = integer(b, now.tick(s, 4000))
		return append(b, '}'), ""
	}
}
