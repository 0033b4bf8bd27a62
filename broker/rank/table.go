package rank

// The table of locks, outermost first. docs/architecture.md has the same rows and says what
// each lock guards and whether something may wait under it; a test compares the two.
type (
	// TableTelling is kv.MemoryTable.telling.
	TableTelling struct{}
	// TableWatch is that of a watcher of a table, in streams and in broker/redis.
	TableWatch struct{}
	// Relay is that of what comes to a shard of a feed.
	Relay struct{}
	// Followers is that of the followers in a shard of a feed.
	Followers struct{}
	// Follower is follow.Follower.mu.
	Follower struct{}
	// FeedQueue is that of the queue of a shard of a feed.
	FeedQueue struct{}
	// RedisTable is redis.Table.mu.
	RedisTable struct{}
	// RedisOrder is that of the connection for live messages to a server.
	RedisOrder struct{}
	// RedisSubscriptions is that of the live channels of this process.
	RedisSubscriptions struct{}
	// RedisRound is that of a round of an audit.
	RedisRound struct{}
	// RedisTaking is that of tasks that are taken.
	RedisTaking struct{}
	// RedisAcknowledged is that of what was acknowledged.
	RedisAcknowledged struct{}
	// RedisApp is that of the epochs of an app.
	RedisApp struct{}
	// RedisLog is redis.Log.mu.
	RedisLog struct{}
	// StreamsAssurance is that of events that are not looked up yet.
	StreamsAssurance struct{}
	// StreamsCasts is that of who hears what no stream keeps.
	StreamsCasts struct{}
	// StreamsRepairing is streams.Work.repairing.
	StreamsRepairing struct{}
	// StreamsLog is streams.Log.mu.
	StreamsLog struct{}
	// StreamsLink is that of a connection that is replaced.
	StreamsLink struct{}
	// StreamsWatches is that of a part of the watchers of a table.
	StreamsWatches struct{}
	// StreamsSender is that of messages that wait for their acknowledgements.
	StreamsSender struct{}
	// StreamsTable is streams.Table.mu.
	StreamsTable struct{}
	// StreamsIntake is that of tasks on their way.
	StreamsIntake struct{}
	// StreamsWitness is that of what a log is known to have held.
	StreamsWitness struct{}
	// StreamsTip is that of the end of a log.
	StreamsTip struct{}
	// StreamsAhead is that of what was read ahead.
	StreamsAhead struct{}
	// StreamsTips is that of who asks where channels end.
	StreamsTips struct{}
	// StreamsSpacing is that of how far apart messages of channels lie.
	StreamsSpacing struct{}
	// StreamsHorizon is that of what may lie behind the end of a log.
	StreamsHorizon struct{}
	// Share is broker.Share.mu.
	Share struct{}
	// Rounds is broker.Rounds.mu.
	Rounds struct{}
	// Adopting is presence.Roster.adopting.
	Adopting struct{}
	// RoomTurn is presence.Room.turn.
	RoomTurn struct{}
	// Hub is hub.Hub.mu.
	Hub struct{}
	// Quota is quota.Quota.mu.
	Quota struct{}
	// Room is presence.Room.mu.
	Room struct{}
	// Roll is herald.Roll.mu.
	Roll struct{}
	// Watchlists is herald.Watchlists.mu.
	Watchlists struct{}
	// Roster is presence.Roster.mu.
	Roster struct{}
	// OwnSeats is presence.Roster.ownMu.
	OwnSeats struct{}
	// OwnSeat is that of one of them.
	OwnSeat struct{}
	// Life is that of a sink in lives, which is called under it.
	Life struct{}
	// Channel is that of the log of a hub.Channel.
	Channel struct{}
	// Subscribers is that of a channel in a shard.
	Subscribers struct{}
	// Past is that of the recent past of a channel.
	Past struct{}
	// Shelf is that of what snapshots hold.
	Shelf struct{}
	// Notice, Event, Texts and Frame are held while frames are made.
	Notice struct{}
	// Event is that of a publication.
	Event struct{}
	// Texts is that of its full frames.
	Texts struct{}
	// Frame is that of another form of a frame.
	Frame struct{}
	// Recency is that of the channels of a connection that hold bases.
	Recency struct{}
	// Resuming is that of one resume request.
	Resuming struct{}
	// Holding is that of the subscriptions of a connection that wait for a resume.
	Holding struct{}
	// Places is that of where the reader of an event stream is.
	Places struct{}
	// Descriptor is that of a socket's descriptor.
	Descriptor struct{}
	// Carrier is that of the connection below TLS.
	Carrier struct{}
	// Outbox is that of a socket.
	Outbox struct{}
	// Slab is that of the records of a writer.
	Slab struct{}
	// Shard is that of the work of a shard.
	Shard struct{}
	// Clients is that of its connections.
	Clients struct{}
	// Writers is that of a group of sockets.
	Writers struct{}
	// Gate is that of those who wait to attach a channel.
	Gate struct{}
	// Door is that of newcomers who wait to be let in.
	Door struct{}
	// Inbox is that of messages that have begun.
	Inbox struct{}
	// Filters is that of the pool of filters.
	Filters struct{}
	// Lives is that of the records of channels that were purged or reset.
	Lives struct{}
	// Tasks is that of what the hub does in the background.
	Tasks struct{}
	// Lacks is that of what the hub cannot follow.
	Lacks struct{}
	// HubMetrics is that of the labels of channels.
	HubMetrics struct{}
	// Following is that of the keys of a bucket that are followed.
	Following struct{}
	// Bucket is kv.Bucket.mu.
	Bucket struct{}
	// MemoryTable is kv.MemoryTable.mu.
	MemoryTable struct{}
	// Alarm is kv.Alarm.mu.
	Alarm struct{}
	// Hooks is that of the outbox of an address in webhook.
	Hooks struct{}
	// Lines is that of lines of the log that count.
	Lines struct{}
)

func (TableTelling) class() class       { return class{100, "telling of a table"} }
func (TableWatch) class() class         { return class{110, "watcher of a table"} }
func (Relay) class() class              { return class{118, "relay"} }
func (Followers) class() class          { return class{120, "followers"} }
func (Follower) class() class           { return class{130, "follower"} }
func (FeedQueue) class() class          { return class{140, "queue of a feed"} }
func (RedisTable) class() class         { return class{150, "topics"} }
func (RedisOrder) class() class         { return class{152, "order of a server"} }
func (RedisSubscriptions) class() class { return class{154, "live channels"} }
func (RedisRound) class() class         { return class{156, "round"} }
func (RedisTaking) class() class        { return class{158, "taking"} }
func (RedisAcknowledged) class() class  { return class{160, "acknowledged"} }
func (RedisApp) class() class           { return class{162, "epochs"} }
func (RedisLog) class() class           { return class{164, "problems"} }
func (StreamsAssurance) class() class   { return class{168, "assurance"} }
func (StreamsCasts) class() class       { return class{169, "casts"} }
func (StreamsRepairing) class() class   { return class{170, "repairing"} }
func (StreamsLog) class() class         { return class{171, "state of the log"} }
func (StreamsLink) class() class        { return class{172, "link"} }
func (StreamsWatches) class() class     { return class{174, "watchers"} }
func (StreamsSender) class() class      { return class{175, "sender"} }
func (StreamsTable) class() class       { return class{176, "turns"} }
func (StreamsIntake) class() class      { return class{178, "intake"} }
func (StreamsWitness) class() class     { return class{180, "witness"} }
func (StreamsTip) class() class         { return class{182, "tip"} }
func (StreamsAhead) class() class       { return class{184, "ahead"} }
func (StreamsTips) class() class        { return class{185, "tips"} }
func (StreamsSpacing) class() class     { return class{186, "spacing"} }
func (StreamsHorizon) class() class     { return class{188, "horizon"} }
func (Share) class() class              { return class{190, "share"} }
func (Rounds) class() class             { return class{192, "rounds"} }
func (Adopting) class() class           { return class{200, "adopting"} }
func (RoomTurn) class() class           { return class{210, "turn of a room"} }
func (Hub) class() class                { return class{300, "hub"} }
func (Quota) class() class              { return class{310, "connections of apps"} }
func (Room) class() class               { return class{400, "room"} }
func (Roll) class() class               { return class{410, "roll"} }
func (Watchlists) class() class         { return class{420, "watchlists"} }
func (Roster) class() class             { return class{500, "roster"} }
func (OwnSeats) class() class           { return class{510, "own seats"} }
func (OwnSeat) class() class            { return class{520, "own seat"} }
func (Life) class() class               { return class{590, "life of a channel"} }
func (Channel) class() class            { return class{600, "channel"} }
func (Subscribers) class() class        { return class{610, "subscribers"} }
func (Past) class() class               { return class{615, "past of a channel"} }
func (Shelf) class() class              { return class{617, "snapshots"} }
func (Notice) class() class             { return class{620, "notice"} }
func (Event) class() class              { return class{630, "event"} }
func (Texts) class() class              { return class{640, "texts"} }
func (Frame) class() class              { return class{650, "frame"} }
func (Recency) class() class            { return class{660, "recency"} }
func (Resuming) class() class           { return class{670, "resume"} }
func (Holding) class() class            { return class{680, "hold"} }
func (Places) class() class             { return class{685, "places"} }
func (Descriptor) class() class         { return class{690, "descriptor"} }
func (Carrier) class() class            { return class{695, "carrier"} }
func (Outbox) class() class             { return class{700, "outbox"} }
func (Slab) class() class               { return class{710, "slab"} }
func (Shard) class() class              { return class{730, "shard"} }
func (Clients) class() class            { return class{740, "clients"} }
func (Writers) class() class            { return class{750, "writers"} }
func (Gate) class() class               { return class{800, "gate"} }
func (Door) class() class               { return class{805, "door"} }
func (Inbox) class() class              { return class{810, "inbox"} }
func (Filters) class() class            { return class{820, "filters"} }
func (Lives) class() class              { return class{825, "lives"} }
func (Tasks) class() class              { return class{830, "tasks"} }
func (Lacks) class() class              { return class{840, "lacks"} }
func (HubMetrics) class() class         { return class{850, "labels"} }
func (Following) class() class          { return class{870, "followed keys"} }
func (Bucket) class() class             { return class{872, "bucket"} }
func (MemoryTable) class() class        { return class{874, "table in memory"} }
func (Alarm) class() class              { return class{876, "alarm"} }
func (Hooks) class() class              { return class{900, "webhooks of an address"} }
func (Lines) class() class              { return class{950, "lines"} }
