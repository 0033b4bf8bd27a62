package rank

// The table of locks, outermost first. docs/architecture.md has the same rows and says what
// each lock guards and whether something may wait under it; a test compares the two.
type (
	// Adopting is [presence.Roster.adopting].
	Adopting struct{}
	// RoomTurn is [presence.Room.turn].
	RoomTurn struct{}
	// Hub is [hub.Hub.mu].
	Hub struct{}
	// Room is [presence.Room.mu].
	Room struct{}
	// Roll is [herald.Roll.mu].
	Roll struct{}
	// Watchlists is [herald.Watchlists.mu].
	Watchlists struct{}
	// Roster is [presence.Roster.mu].
	Roster struct{}
	// OwnSeats is [presence.Roster.ownMu].
	OwnSeats struct{}
	// OwnSeat is that of one of them.
	OwnSeat struct{}
)

func (Adopting) class() class   { return class{200, "adopting"} }
func (RoomTurn) class() class   { return class{210, "turn of a room"} }
func (Hub) class() class        { return class{300, "hub"} }
func (Room) class() class       { return class{400, "room"} }
func (Roll) class() class       { return class{410, "roll"} }
func (Watchlists) class() class { return class{420, "watchlists"} }
func (Roster) class() class     { return class{500, "roster"} }
func (OwnSeats) class() class   { return class{510, "own seats"} }
func (OwnSeat) class() class    { return class{520, "own seat"} }
