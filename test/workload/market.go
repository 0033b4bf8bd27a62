package workload

import "math"

var symbols = []string{"BTC", "ETH", "SOL", "ADA", "XRP", "DOGE", "AVAX", "LINK"}

// newQuote: a symbol and a price, 107 B. Too small for any delta to pay.
func newQuote(s *source) func([]byte) ([]byte, string) {
	names := []string{"AAPL", "MSFT", "NVDA", "AMZN"}
	prices := []float64{187.2, 411.9, 121.4, 178.8}
	return func(b []byte) ([]byte, string) {
		i := s.IntN(len(names))
		prices[i] = s.walk(prices[i], 0.4, 100, 999)
		b = append(b, `{"s":"`...)
		b = append(b, names[i]...)
		b = append(b, `","p":`...)
		b = fixed(b, prices[i], 2)
		return append(b, '}'), names[i]
	}
}

// ticker is the state of one symbol.
type ticker struct {
	last, bid, ask, open, high, low, vwap float64
	bidSize, askSize, volume, quote       float64
	trades, id                            int64
}

func newTickers(s *source) []ticker {
	all := make([]ticker, len(symbols))
	for i := range all {
		p := math.Pow(10, 4.8-0.6*float64(i))
		all[i] = ticker{
			last: p, open: p * 0.99, high: p * 1.02, low: p * 0.97, vwap: p * 1.001,
			bidSize: 3, askSize: 3, volume: 12000 + 1000*s.Float64(), trades: 80000 + s.Int64N(9000), id: 4_100_200_300 + s.Int64N(1000),
		}
		all[i].quote = all[i].volume * p
	}
	return all
}

// trade updates everything that changes with a trade.
func (t *ticker) trade(s *source) {
	t.last = s.walk(t.last, t.open*0.0008, t.open*0.8, t.open*1.2)
	t.bid, t.ask = t.last*0.9999, t.last*1.0001
	t.high, t.low = max(t.high, t.last), min(t.low, t.last)
	size := s.ExpFloat64() * 0.4
	t.volume += size
	t.quote += size * t.last
	t.vwap = t.quote / t.volume
	t.bidSize, t.askSize = s.ExpFloat64()*4, s.ExpFloat64()*4
	t.trades++
	t.id += 1 + s.Int64N(3)
}

func (t *ticker) append(b []byte, symbol string, at int64) []byte {
	b = append(b, `{"symbol":"`...)
	b = append(b, symbol...)
	b = append(b, `","venue":"alpha","last":"`...)
	b = fixed(b, t.last, 2)
	b = append(b, `","bid":"`...)
	b = fixed(b, t.bid, 2)
	b = append(b, `","bidSize":"`...)
	b = fixed(b, t.bidSize, 4)
	b = append(b, `","ask":"`...)
	b = fixed(b, t.ask, 2)
	b = append(b, `","askSize":"`...)
	b = fixed(b, t.askSize, 4)
	b = append(b, `","open":"`...)
	b = fixed(b, t.open, 2)
	b = append(b, `","high":"`...)
	b = fixed(b, t.high, 2)
	b = append(b, `","low":"`...)
	b = fixed(b, t.low, 2)
	b = append(b, `","volume":"`...)
	b = fixed(b, t.volume, 4)
	b = append(b, `","vwap":"`...)
	b = fixed(b, t.vwap, 4)
	b = append(b, `","trades":`...)
	b = integer(b, t.trades)
	b = append(b, `,"lastTradeId":`...)
	b = integer(b, t.id)
	b = append(b, `,"tickSize":"0.01","lot":1,"currency":"USD","status":"TRADING","ts":`...)
	b = integer(b, at)
	return append(b, '}')
}

// newTicker: every volatile field of a ticker changes in each message, 419 B.
func newTicker(s *source) func([]byte) ([]byte, string) {
	all, now := newTickers(s), firstClock
	return func(b []byte) ([]byte, string) {
		i := s.IntN(len(all))
		all[i].trade(s)
		return all[i].append(b, symbols[i], now.tick(s, 120)), symbols[i]
	}
}

// newTicker3: the same ticker, of which the last price, one size and the time
// change, 419 B.
func newTicker3(s *source) func([]byte) ([]byte, string) {
	all, now := newTickers(s), firstClock
	for i := range all {
		all[i].trade(s)
	}
	return func(b []byte) ([]byte, string) {
		i := s.IntN(len(all))
		t := &all[i]
		t.last = s.walk(t.last, t.open*0.0008, t.open*0.8, t.open*1.2)
		t.bidSize = s.ExpFloat64() * 4
		return t.append(b, symbols[i], now.tick(s, 120)), symbols[i]
	}
}

// level is one price of an order book.
type level struct{ price, size float64 }

// newBook: complete order books of 1200 levels a side, a few of which change,
// come or go, 61 KB.
func newBook(s *source) func([]byte) ([]byte, string) {
	const depth = 1200
	books := make([][2][]level, 2)
	sequences := make([]int64, len(books))
	now := firstClock
	for i := range books {
		mid := 64250.0 / float64(1+20*i)
		for side := range books[i] {
			direction := float64(2*side - 1)
			levels := make([]level, depth)
			for j := range levels {
				levels[j] = level{mid + direction*(0.05+float64(j)*0.25+0.1*s.Float64()), s.ExpFloat64() * 3}
			}
			books[i][side] = levels
		}
		sequences[i] = 88_000_000 + s.Int64N(1000)
	}
	return func(b []byte) ([]byte, string) {
		i := s.IntN(len(books))
		sequences[i] += 1 + s.Int64N(9)
		for range 8 + s.IntN(8) {
			levels := books[i][s.IntN(2)]
			// Most changes of a book are near its top.
			at := min(int(s.ExpFloat64()*40), depth-2)
			switch {
			case s.chance(0.7):
				levels[at].size = s.ExpFloat64() * 3
			case s.chance(0.5):
				copy(levels[at+1:], levels[at:])
				levels[at].price = (levels[at].price + levels[at+1].price) / 2
				levels[at].size = s.ExpFloat64() * 3
			default:
				copy(levels[at:], levels[at+1:])
				last := &levels[depth-1]
				last.price += 0.25 * (last.price - levels[depth-3].price)
			}
		}
		b = append(b, `{"symbol":"`...)
		b = append(b, symbols[i]...)
		b = append(b, `-USD","sequence":`...)
		b = integer(b, sequences[i])
		b = append(b, `,"ts":`...)
		b = integer(b, now.tick(s, 100))
		for side, name := range []string{`,"bids":[`, `,"asks":[`} {
			b = append(b, name...)
			for j, l := range books[i][side] {
				if j > 0 {
					b = append(b, ',')
				}
				b = append(b, `["`...)
				b = fixed(b, l.price, 2)
				b = append(b, `","`...)
				b = fixed(b, l.size, 8)
				b = append(b, `"]`...)
			}
			b = append(b, ']')
		}
		return append(b, '}'), symbols[i] + "-USD"
	}
}
