package console

// Log remembers what happened last. It belongs to one goroutine.
type Log struct {
	ring [eventsKept]Event
	last uint64 // seq of the newest; they start at 1
}

// eventsKept is how many events are remembered, eventsAtOnce how many are told at once.
const (
	eventsKept   = 1024
	eventsAtOnce = 256
)

// Add appends an event.
func (l *Log) Add(unixMilli int64, kind, text string) {
	l.last++
	l.ring[l.last%eventsKept] = Event{Seq: l.last, At: unixMilli, Kind: kind, Text: text}
}

// After returns the events behind seq, the oldest first. When there are more than are told at once, or remembered, the oldest
// of them are left out.
func (l *Log) After(seq uint64) (list []Event, last uint64) {
	if seq > l.last {
		seq = 0 // of another leader
	}
	from := max(seq, l.last-min(l.last, eventsAtOnce))
	list = make([]Event, 0, l.last-from)
	for s := from + 1; s <= l.last; s++ {
		list = append(list, l.ring[s%eventsKept])
	}
	return list, l.last
}
