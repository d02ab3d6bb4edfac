package faults

import (
	"fmt"
	"net"
	"sync"
	"time"

	"pegasus/conf/onebox"
	"pegasus/netcore/proto"
)

const maxReply = 1 << 20

// exchange asks one server one thing, whoever it is: unlike the client it follows no redirection.
func exchange(address string, code proto.Code, g proto.GPID, hash uint64, args []byte, decode func(*proto.Reply) error) error {
	nc, err := net.DialTimeout("tcp", address, opTimeout)
	if err != nil {
		return err
	}
	defer nc.Close()
	if err := nc.SetDeadline(time.Now().Add(opTimeout)); err != nil {
		return err
	}
	if _, err := nc.Write(request(nil, code, g, 1, hash, args)); err != nil {
		return err
	}
	return replies(nc, func(r *proto.Reply) (more bool, err error) { return false, decode(r) })
}

func request(dst []byte, code proto.Code, g proto.GPID, seq int32, hash uint64, args []byte) []byte {
	dst, mark := proto.AppendRequest(dst, code, g, seq, int32(patience.Milliseconds()), hash)
	return proto.FinishRequest(append(dst, args...), mark)
}

// replies reads frames until take has had enough.
func replies(nc net.Conn, take func(*proto.Reply) (more bool, err error)) error {
	var buf []byte
	chunk := make([]byte, 64<<10)
	for {
		n, err := nc.Read(chunk)
		if err != nil {
			return err
		}
		for buf = append(buf, chunk[:n]...); ; {
			var r proto.Reply
			used, _, err := proto.ParseReply(buf, maxReply, &r)
			if err != nil {
				return err
			}
			if used == 0 {
				break
			}
			if more, err := take(&r); err != nil || !more {
				return err
			}
			buf = buf[used:]
		}
	}
}

// metaLeader returns the meta server that answers as leader.
func (w *world) metaLeader() (leader *onebox.Node) {
	w.t.Helper()
	args := proto.AppendArgs(nil, &proto.QueryCfgRequest{AppName: table}, 1)
	w.ok(eventually(patience, func() error {
		for _, n := range w.Nodes {
			if n.Kind != onebox.Meta {
				continue
			}
			var resp proto.QueryCfgResponse
			err := exchange(n.Address, proto.CodeCMQueryPartitionConfigByIndex, proto.GPID{}, 0, args, func(r *proto.Reply) error {
				return proto.UnmarshalArgs(r.Body, &resp)
			})
			if err == nil && resp.Err == proto.ErrOK {
				leader = n
				return nil
			}
		}
		return fmt.Errorf("no meta server answers as leader")
	}))
	return leader
}

// insist reads a register of one partition from the node that led it when this began, whatever becomes of the node's
// role, and records the answers. A primary that was replaced while it was paused or cut off must never give one that
// is too old. Requests are sent without waiting for answers, so that some wait in its socket when it comes back.
func (l *load) insist(w *world, part int) (stop func()) {
	w.t.Helper()
	cfg, err := w.client.QueryConfig(contextFor(w.t), table)
	w.ok(err)
	p := &cfg.Partitions[part]
	nc, err := net.Dial("tcp", p.Primary.String())
	w.ok(err)
	type waiting struct {
		key string
		op  *op
	}
	var mu sync.Mutex
	sent := map[int32]waiting{}
	var wg sync.WaitGroup
	quit := make(chan struct{})
	wg.Add(2)
	go func() {
		defer wg.Done()
		tick := time.NewTicker(look)
		defer tick.Stop()
		for seq := int32(1); ; seq++ {
			select {
			case <-quit:
				return
			case <-tick.C:
			}
			key, _ := l.parts[part].registers.current()
			raw := append([]byte{byte(len(key) >> 8), byte(len(key))}, key...)
			raw = append(raw, sortKey...)
			mu.Lock()
			sent[seq] = waiting{key, &op{worker: -2, verb: opGet, from: l.rec.now()}}
			mu.Unlock()
			frame := request(nil, proto.CodeGet, p.PID, seq, proto.RawKeyHash(raw), proto.AppendBlobArg(nil, raw))
			if _, err := nc.Write(frame); err != nil {
				return // the node closed the connection: it will not answer any more
			}
		}
	}()
	answers, refusals := 0, 0
	go func() {
		defer wg.Done()
		// It ends when the connection does, with whatever error that gives.
		_ = replies(nc, func(r *proto.Reply) (bool, error) {
			mu.Lock()
			q, known := sent[r.Seq]
			delete(sent, r.Seq)
			mu.Unlock()
			var resp proto.ReadResponse
			if !known || r.Code() != proto.ErrOK {
				refusals++
				return true, nil
			}
			if err := resp.DecodeResult(r.Body); err != nil {
				return false, err
			}
			if resp.Error == proto.StorageOK {
				q.op.seen = content{true, string(resp.Value)}
			} else if resp.Error != proto.StorageNotFound {
				return true, nil
			}
			l.rec.add(q.key, q.op)
			answers++
			return true, nil
		})
	}()
	return func() {
		close(quit)
		nc.Close()
		wg.Wait()
		w.t.Logf("the old primary of partition %d answered %d reads and refused %d", part, answers, refusals)
		if answers == 0 {
			w.t.Errorf("the primary of partition %d never answered", part)
		}
	}
}
