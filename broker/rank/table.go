package rank

// The table of locks, outermost first. docs/architecture.md has the same rows and says what
// each lock guards and whether something may wait under it; a test compares the two.
type (
	// Adopting is presence.Roster.adopting.
	Adopting struct{}
	// RoomTurn is presence.Room.turn.
	RoomTurn struct{}
	// Hub is hub.Hub.mu.
	Hub struct{}
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
	// Channel is that of the log of a hub.Channel.
	Channel struct{}
	// Subscribers is that of a channel in a shard.
	Subscribers struct{}
	// Past is that of the recent past of a channel.
	Past struct{}
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
	// Descriptor is that of a socket's descriptor.
	Descriptor struct{}
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
	// Inbox is that of messages that have begun.
	Inbox struct{}
	// Filters is that of the pool of filters.
	Filters struct{}
	// Tasks is that of what the hub does in the background.
	Tasks struct{}
	// Lacks is that of what the hub cannot follow.
	Lacks struct{}
	// HubMetrics is that of the labels of channels.
	HubMetrics struct{}
	// Followers is that of the followers in a shard of a feed.
	Followers struct{}
	// Follower is follow.Follower.mu.
	Follower struct{}
	// FeedQueue is that of the queue of a shard of a feed.
	FeedQueue struct{}
	// Hooks is that of the outbox of an address in webhook.
	Hooks struct{}
)

func (Adopting) class() class    { return class{200, "adopting"} }
func (RoomTurn) class() class    { return class{210, "turn of a room"} }
func (Hub) class() class         { return class{300, "hub"} }
func (Room) class() class        { return class{400, "room"} }
func (Roll) class() class        { return class{410, "roll"} }
func (Watchlists) class() class  { return class{420, "watchlists"} }
func (Roster) class() class      { return class{500, "roster"} }
func (OwnSeats) class() class    { return class{510, "own seats"} }
func (OwnSeat) class() class     { return class{520, "own seat"} }
func (Channel) class() class     { return class{600, "channel"} }
func (Subscribers) class() class { return class{610, "subscribers"} }
func (Past) class() class        { return class{615, "past of a channel"} }
func (Notice) class() class      { return class{620, "notice"} }
func (Event) class() class       { return class{630, "event"} }
func (Texts) class() class       { return class{640, "texts"} }
func (Frame) class() class       { return class{650, "frame"} }
func (Recency) class() class     { return class{660, "recency"} }
func (Resuming) class() class    { return class{670, "resume"} }
func (Holding) class() class     { return class{680, "hold"} }
func (Descriptor) class() class  { return class{690, "descriptor"} }
func (Outbox) class() class      { return class{700, "outbox"} }
func (Slab) class() class        { return class{710, "slab"} }
func (Shard) class() class       { return class{730, "shard"} }
func (Clients) class() class     { return class{740, "clients"} }
func (Writers) class() class     { return class{750, "writers"} }
func (Gate) class() class        { return class{800, "gate"} }
func (Inbox) class() class       { return class{810, "inbox"} }
func (Filters) class() class     { return class{820, "filters"} }
func (Tasks) class() class       { return class{830, "tasks"} }
func (Lacks) class() class       { return class{840, "lacks"} }
func (HubMetrics) class() class  { return class{850, "labels"} }
func (Followers) class() class   { return class{860, "followers"} }
func (Follower) class() class    { return class{870, "follower"} }
func (FeedQueue) class() class   { return class{880, "queue of a feed"} }
func (Hooks) class() class       { return class{900, "webhooks of an address"} }
