package faults

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"pegasus/clientlib"
)

// ackLog writes keys that nobody else writes, each once, and remembers which writes were acknowledged: those must be
// there at the end, those that were refused must not, and the others may be either whole or absent.
type ackLog struct {
	table *clientlib.Table
	name  string

	mu     sync.Mutex
	writes map[string]outcome
}

type outcome uint8

const (
	acked outcome = iota
	unanswered
	refused
)

func newAckLog(tb *clientlib.Table, name string) *ackLog {
	return &ackLog{table: tb, name: name, writes: map[string]outcome{}}
}

// valueOf is what a key of the log holds.
func valueOf(key string) string { return key + strings.Repeat("=", 100) }

func (a *ackLog) work(l *load, part int) {
	n := 0
	l.paced(func() {
		n++
		key := keyIn(fmt.Sprintf("%s/ack%d.%d", a.name, part, n), part, len(l.parts))
		ctx, cancel := context.WithTimeout(context.Background(), opTimeout)
		defer cancel()
		res := acked
		switch err := a.table.Set(ctx, []byte(key), sortKey, []byte(valueOf(key))); {
		case err == nil:
			l.parts[part].count(true)
		case errors.Is(err, clientlib.ErrUnknownOutcome):
			res = unanswered
			l.failed(opSet, err)
		default:
			res = refused
			l.failed(opSet, err)
		}
		a.mu.Lock()
		a.writes[key] = res
		a.mu.Unlock()
	})
}

// check reads all keys. It returns how many were acknowledged and how many went without an answer, and what is wrong.
func (a *ackLog) check() (ok, maybe int, lost []error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	const readers = 32
	keys := make(chan string)
	var wg sync.WaitGroup
	var mu sync.Mutex
	for range readers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for key := range keys {
				if err := a.checkKey(key, a.writes[key]); err != nil {
					mu.Lock()
					lost = append(lost, err)
					mu.Unlock()
				}
			}
		}()
	}
	for key, res := range a.writes {
		switch res {
		case acked:
			ok++
		case unanswered:
			maybe++
		}
		keys <- key
	}
	close(keys)
	wg.Wait()
	const most = 20
	if len(lost) > most {
		lost = append(lost[:most:most], fmt.Errorf("and %d more like these", len(lost)-most))
	}
	return ok, maybe, lost
}

func (a *ackLog) checkKey(key string, res outcome) error {
	var value []byte
	err := eventually(patience, func() (err error) {
		ctx, cancel := context.WithTimeout(context.Background(), opTimeout)
		defer cancel()
		value, err = a.table.Get(ctx, []byte(key), sortKey)
		return err
	})
	switch {
	case err != nil:
		return fmt.Errorf("key %s cannot be read: %w", key, err)
	case value == nil && res == acked:
		return fmt.Errorf("key %s was acknowledged and is not there", key)
	case value != nil && res == refused:
		return fmt.Errorf("key %s was refused and is there", key)
	case value != nil && string(value) != valueOf(key):
		return fmt.Errorf("key %s holds %q", key, value)
	}
	return nil
}
