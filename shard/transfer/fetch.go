package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	firstPause = 50 * time.Millisecond
	lastPause  = 2 * time.Second
)

// Fetch copies what the server at addr offers under id into the directory dst, which is made if it does not exist (the one
// above it must), and returns the manifest when every byte and name is verified and durable. dst then holds the files of the manifest and
// nothing else. The caller compares GPID and Decree with what it expects.
//
// dst belongs to Fetch, one at a time. After an error it stays as it is; another Fetch into it, of the same or of a newer
// checkpoint, also by another process, copies only the blocks that are missing. Once Fetch has returned nil dst is no staging
// directory any more: it may be fetched again as it is, which verifies it, but another checkpoint is refused with ErrStaging,
// as for any directory that is not empty and that Fetch did not make.
//
// Fetch connects again, up to Options.Attempts times in a row without a new block (then ErrUnreachable), when the connection
// breaks, is damaged or falls silent. It gives up at once with ErrBusy, ErrUnknown, ErrVersion, ErrManifest, ErrSource,
// ErrStaging, ErrDisk (also ErrNoSpace), and with the cause of ctx's end, which cuts off whatever it does except a system
// call of the disk.
func Fetch(ctx context.Context, addr string, id uint64, dst string, o Options) (Manifest, error) {
	o = o.withDefaults()
	if !o.Budget.enter(&o.Budget.fetching) {
		return Manifest{}, ErrBusy
	}
	defer o.Budget.leave(&o.Budget.fetching)
	st, err := openStaging(o.FS, dst)
	if err != nil {
		return Manifest{}, err
	}
	defer st.close()
	f := &fetch{o: &o, addr: addr, id: id, st: st, block: make([]byte, BlockSize)}
	if err := f.run(ctx); err != nil {
		return Manifest{}, err
	}
	return *st.m, nil
}

type fetch struct {
	o     *Options
	addr  string
	id    uint64
	st    *staging
	prog  Progress
	block []byte // the one being received
}

// run connects until there is nothing left to fetch, or no sense in it.
func (f *fetch) run(ctx context.Context) error {
	pause := firstPause
	for failures := 0; ; {
		before := f.prog.Fetched
		err := f.attempt(ctx)
		if cause := context.Cause(ctx); err != nil && cause != nil {
			return cause
		}
		if err == nil || permanent(err) {
			return err
		}
		if f.prog.Fetched > before {
			failures, pause = 0, firstPause
		}
		if failures++; failures >= f.o.Attempts {
			return fmt.Errorf("%w: %d attempts, the last: %w", ErrUnreachable, failures, err)
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return context.Cause(ctx)
		}
		pause = min(2*pause, lastPause)
	}
}

func permanent(err error) bool {
	for _, p := range []error{ErrBusy, ErrUnknown, ErrVersion, ErrManifest, ErrSource, ErrStaging, ErrDisk} {
		if errors.Is(err, p) {
			return true
		}
	}
	return false
}

// attempt is one connection.
func (f *fetch) attempt(ctx context.Context) error {
	f.prog.Dials++
	dialCtx, cancelDial := context.WithTimeout(ctx, f.o.Timeout)
	conn, err := f.o.Dial(dialCtx, f.addr)
	cancelDial()
	if err != nil {
		return err
	}
	l := newLink(conn, f.id, f.o.Timeout)
	ctx, cancel := context.WithCancel(ctx)
	alive := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer func() {
		if stop() {
			conn.Close()
		}
		cancel()
		<-alive
	}()
	go func() {
		defer close(alive)
		l.keepAlive(ctx)
	}()
	if err := l.send(header{kind: kindOpen}, f.o.Node[:]); err != nil {
		return err
	}
	if err := f.manifest(ctx, l); err != nil {
		return err
	}
	if err := f.pull(ctx, l); err != nil {
		return err
	}
	if err := f.st.finish(); err != nil {
		return err
	}
	// The server learns it from this or, if it gets lost, from what the learner asks next, or by expiry.
	_ = l.send(header{kind: kindDone}, nil)
	return nil
}

// manifest receives the manifest, and takes the staging directory's stock unless this is the manifest it has.
func (f *fetch) manifest(ctx context.Context, l *link) error {
	h, err := l.answer(kindManifest, maxManifest)
	if err != nil {
		return err
	}
	encoded, err := l.bodyOf(h)
	if err != nil {
		return err
	}
	if f.st.m != nil && bytes.Equal(encoded, f.st.encoded) {
		return nil
	}
	m, err := decodeManifest(encoded)
	if err != nil {
		return err
	}
	if m.ID != f.id {
		return refused("transfer %016x, asked for %016x", m.ID, f.id)
	}
	if err := f.st.adopt(ctx, m, encoded, f.o.Budget); err != nil {
		return err
	}
	f.prog.Total = m.Bytes()
	f.prog.Reused = f.prog.Total - f.st.missing
	f.report()
	return nil
}

func (f *fetch) report() {
	if f.o.Progress != nil {
		f.o.Progress(f.prog)
	}
}

// answer reads the header of the next frame that is not a sign of life. It must have the kind wanted, or be an error.
func (l *link) answer(want kind, maxBody int) (header, error) {
	for {
		h, err := l.next(maxBody)
		switch {
		case err != nil:
			return h, err
		case h.kind == kindAlive:
			continue
		case h.kind == kindError:
			return h, l.refusal(h)
		case h.kind != want:
			return h, fmt.Errorf("%w: frame of kind %d", errProtocol, h.kind)
		}
		return h, nil
	}
}

// refusal turns kindError into an error.
func (l *link) refusal(h header) error {
	if h.length > maxErrorText {
		return fmt.Errorf("%w: error text of %d bytes", errProtocol, h.length)
	}
	text, err := l.bodyOf(h)
	if err != nil {
		return err
	}
	cause := codeErrors[h.code]
	if cause == nil {
		cause = errProtocol
	}
	return fmt.Errorf("%w: server says code %d %.256q", cause, h.code, text)
}
