package compat

import (
	"errors"
	"net"
	"os"
	"time"

	"pegasus/netcore/proto/golden"
	"pegasus/netcore/proto/golden/compare"
)

// link is one TCP connection of a case. Replies may come in any order; those that nobody waits for yet are kept.
type link struct {
	nc     net.Conn
	native bool
	buf    []byte
	early  map[int64][]byte
	closed bool
}

func dialLink(address string, native bool) (*link, error) {
	nc, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return nil, err
	}
	return &link{nc: nc, native: native, early: map[int64][]byte{}}, nil
}

func (l *link) close() { _ = l.nc.Close() }

// send writes a frame, in pieces of chunk bytes if that is not 0.
func (l *link) send(frame []byte, chunk int) error {
	for chunk > 0 && len(frame) > chunk {
		if _, err := l.nc.Write(frame[:chunk]); err != nil {
			return err
		}
		frame = frame[chunk:]
		time.Sleep(golden.ChunkPause) // part of the recording: the server must see separate segments
	}
	_, err := l.nc.Write(frame)
	return err
}

// await returns the reply with a sequence id, or what happened instead.
func (l *link) await(seq int64, patience time.Duration) ([]byte, golden.Outcome) {
	deadline := time.Now().Add(patience)
	for {
		if frame, ok := l.early[seq]; ok {
			delete(l.early, seq)
			return frame, golden.OutcomeReply
		}
		if l.closed {
			return nil, golden.OutcomeClosed
		}
		if err := l.read(deadline); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return nil, golden.OutcomeNoReply
			}
			l.closed = true
		}
	}
}

// read takes more bytes and sorts complete frames.
func (l *link) read(deadline time.Time) error {
	if err := l.nc.SetReadDeadline(deadline); err != nil {
		return err
	}
	var chunk [64 << 10]byte
	n, err := l.nc.Read(chunk[:])
	l.buf = append(l.buf, chunk[:n]...)
	for {
		size, ferr := compare.FrameLen(l.native, l.buf)
		if ferr != nil {
			return ferr
		}
		if size == 0 || size > len(l.buf) {
			return err
		}
		frame := append([]byte(nil), l.buf[:size]...)
		l.buf = l.buf[size:]
		seq, ferr := compare.Seqid(l.native, frame)
		if ferr != nil {
			return ferr
		}
		l.early[seq] = frame
	}
}
