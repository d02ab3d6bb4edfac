package pacsim

// Virtual durations, in nanoseconds of true time.
const (
	microsecond int64 = 1000
	millisecond       = 1000 * microsecond
	second            = 1000 * millisecond
)

// event is something that happens at a true time; seq orders equal times.
type event struct {
	at  int64
	seq uint64
	do  func()
}

func (e *event) before(o *event) bool { return e.at < o.at || e.at == o.at && e.seq < o.seq }

// queue holds what is going to happen, as a binary heap. It is the only source of progress. container/heap was rejected: it
// boxes every event.
type queue struct {
	heap []event
	now  int64
	seq  uint64
	done uint64 // events run
}

// after schedules do in d nanoseconds.
func (q *queue) after(d int64, do func()) {
	q.seq++
	q.heap = append(q.heap, event{at: q.now + max(0, d), seq: q.seq, do: do})
	for i := len(q.heap) - 1; i > 0; {
		parent := (i - 1) / 2
		if !q.heap[i].before(&q.heap[parent]) {
			break
		}
		q.heap[i], q.heap[parent] = q.heap[parent], q.heap[i]
		i = parent
	}
}

// step runs the next event; false when there is none up to the limit, which then is the time.
func (q *queue) step(limit int64) bool {
	if len(q.heap) == 0 || q.heap[0].at > limit {
		q.now = max(q.now, limit)
		return false
	}
	e := q.pop()
	q.now = e.at
	q.done++
	e.do()
	return true
}

func (q *queue) pop() event {
	top, last := q.heap[0], len(q.heap)-1
	q.heap[0] = q.heap[last]
	q.heap[last] = event{}
	q.heap = q.heap[:last]
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < last; child++ {
			if q.heap[child].before(&q.heap[least]) {
				least = child
			}
		}
		if least == i {
			return top
		}
		q.heap[i], q.heap[least] = q.heap[least], q.heap[i]
		i = least
	}
}
