package rank

// The table of locks, outermost first. docs/architecture.md has the same rows and says what each lock guards
// and whether a goroutine may block while holding it; a test compares the two.
type (
	// TableTelling is kv.MemoryTable.telling.
	TableTelling struct{}
	// TableWatch is the lock of a watcher of a table, in streams and in broker/redis.
	TableWatch struct{}
	// Relay is the lock of the messages that arrive for a shard of a feed.
	Relay struct{}
	// Followers is the lock of the followers in a shard of a feed.
	Followers struct{}
	// Follower is follow.Follower.mu.
	Follower struct{}
	// FeedQueue is the lock of the queue of a shard of a feed.
	FeedQueue struct{}
	// RedisTable is redis.Table.mu.
	RedisTable struct{}
	// RedisOrder is the lock of the connection for live messages to a server.
	RedisOrder struct{}
	// RedisSubscriptions is the lock of this process's live channels.
	RedisSubscriptions struct{}
	// RedisRound is the lock of one round of an audit.
	RedisRound struct{}
	// RedisTaking is the lock of the tasks that were taken.
	RedisTaking struct{}
	// RedisAcknowledged is the lock of the acknowledged positions.
	RedisAcknowledged struct{}
	// RedisApp is the lock of the epochs of an app.
	RedisApp struct{}
	// RedisLog is redis.Log.mu.
	RedisLog struct{}
	// StreamsAssurance is the lock of the events that are still to be looked up.
	StreamsAssurance struct{}
	// StreamsCasts is the lock of the listeners for cast events.
	StreamsCasts struct{}
	// StreamsRepairing is streams.Work.repairing.
	StreamsRepairing struct{}
	// StreamsLog is streams.Log.mu.
	StreamsLog struct{}
	// StreamsLink is the lock of a connection that is replaced.
	StreamsLink struct{}
	// StreamsWatches is the lock of a part of the watchers of a table.
	StreamsWatches struct{}
	// StreamsSender is the lock of the messages that wait for acknowledgements.
	StreamsSender struct{}
	// StreamsTable is streams.Table.mu.
	StreamsTable struct{}
	// StreamsIntake is the lock of the tasks on their way.
	StreamsIntake struct{}
	// StreamsWitness is the lock of the known contents of a log.
	StreamsWitness struct{}
	// StreamsTip is the lock of the end of a log.
	StreamsTip struct{}
	// StreamsAhead is the lock of the messages that were read ahead.
	StreamsAhead struct{}
	// StreamsTips is the lock of the requests for the ends of channels.
	StreamsTips struct{}
	// StreamsSpacing is the lock of the distances between messages of channels.
	StreamsSpacing struct{}
	// StreamsHorizon is the lock of the possible messages after the end of a log.
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
	// OwnSeat is the lock of one own seat.
	OwnSeat struct{}
	// Life is the lock of a sink in lives; the sink is called while it is held.
	Life struct{}
	// Channel is the lock of the log of a hub.Channel.
	Channel struct{}
	// Subscribers is the lock of the subscribers of a channel in a shard.
	Subscribers struct{}
	// Past is the lock of the recent past of a channel.
	Past struct{}
	// Shelf is the lock of the contents of snapshots.
	Shelf struct{}
	// Notice is, like Event, Texts and Frame, held while frames are made.
	Notice struct{}
	// Event is the lock of a publication.
	Event struct{}
	// Texts is the lock of a publication's full frames.
	Texts struct{}
	// Frame is the lock of another form of a frame.
	Frame struct{}
	// Recency is the lock of the channels of a connection that hold bases.
	Recency struct{}
	// Resuming is the lock of one resume request.
	Resuming struct{}
	// Holding is the lock of the subscriptions of a connection that wait for a resume.
	Holding struct{}
	// Places is the lock of the positions of the reader of an event stream.
	Places struct{}
	// Descriptor is the lock of a socket's descriptor.
	Descriptor struct{}
	// Carrier is the lock of the connection below TLS.
	Carrier struct{}
	// Outbox is the lock of a socket's outbox.
	Outbox struct{}
	// Slab is the lock of a writer's records.
	Slab struct{}
	// Shard is the lock of a shard's work.
	Shard struct{}
	// Clients is the lock of a shard's connections.
	Clients struct{}
	// Writers is the lock of a group of sockets.
	Writers struct{}
	// Gate is the lock of the requests that wait to attach a channel.
	Gate struct{}
	// Door is the lock of the new connections that wait to be admitted.
	Door struct{}
	// Inbox is the lock of the messages that have begun.
	Inbox struct{}
	// Filters is the lock of the pool of filters.
	Filters struct{}
	// Lives is the lock of the records of channels that were purged or reset.
	Lives struct{}
	// Tasks is the lock of the hub's background tasks.
	Tasks struct{}
	// Lacks is seldom.Lacks.mu.
	Lacks struct{}
	// HubMetrics is the lock of the labels of channels.
	HubMetrics struct{}
	// Following is the lock of the followed keys of a bucket.
	Following struct{}
	// Bucket is kv.Bucket.mu.
	Bucket struct{}
	// MemoryTable is kv.MemoryTable.mu.
	MemoryTable struct{}
	// Alarm is kv.Alarm.mu.
	Alarm struct{}
	// Hooks is the lock of the outbox of an address in webhook.
	Hooks struct{}
	// Lines is seldom.Lines.mu.
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
