package shard

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go.uber.org/zap"

	"pegasus/netcore/proto"
)

// Stop ends the node in the order that loses nothing and waits for nothing in vain: refuse new requests, let what is in flight
// be answered, close the sessions, then flush and close the stores and the logs. What ctx cuts short is told in the error; the
// data is safe all the same, the next start replays the log. The Node is unusable afterwards.
func (n *Node) Stop(ctx context.Context) error {
	var errs []error
	// Copies from and to other nodes end first: nothing is lost with them, and replicas are in use until they have come back.
	n.endLife()
	n.transfers.Close()
	n.shards[0].deliverLater(&stopLink{})
	for _, sh := range n.shards {
		sh.deliverLater(&drain{})
	}
	for _, sh := range n.shards {
		select {
		case <-sh.drained:
		case <-ctx.Done():
			errs = append(errs, fmt.Errorf("shard %d: requests still in flight: %w", sh.id, ctx.Err()))
		}
	}
	for _, sh := range n.shards {
		errs = append(errs, sh.loop.Stop(ctx))
	}
	errs = append(errs, n.release())
	n.logger.Info("replica server stopped")
	return errors.Join(errs...)
}

type stopLink struct{}

func (*stopLink) deliver(sh *Shard) { sh.node.link.stop() }

// drain makes a shard refuse what is new; its turn tells when nothing is in flight any more.
type drain struct{}

func (*drain) deliver(sh *Shard) {
	sh.draining = true
	for _, p := range sh.partitions {
		p.scanners.closeAll()
		p.abortCompaction()
		p.abandonMigration()
		p.failQueue(proto.ErrInvalidState)
	}
	sh.loop.After(sh.opts.Timing.Lease, sh.stopReplicating)
}

// stopReplicating ends what still waits for other members: they may be stopping as well. Their clients learn that the outcome
// is unknown.
func (sh *Shard) stopReplicating() {
	if sh.stopped {
		return
	}
	sh.silent = true
	for _, p := range sh.partitions {
		p.abandonWrites()
	}
}

// checkDrained ends a drain once no partition has anything in flight. It is called at the end of a turn.
func (sh *Shard) checkDrained() {
	stalled := sh.logJob.stalled // a full disk; what waits for it ends with the process, its clients do not know the outcome
	if sh.choring || sh.logJob.write != nil && !stalled {
		return
	}
	for _, p := range sh.partitions {
		if stalled || p.parked > 0 {
			p.abandonWrites()
		}
		if p.refs > 0 || len(p.inFlight) > 0 || p.current != nil || len(p.queue) > 0 {
			return
		}
	}
	for _, p := range sh.partitions {
		p.settle() // what is flushed now needs not be replayed
	}
	sh.peers.stop()
	sh.draining, sh.stopped, sh.silent = false, true, true
	close(sh.drained)
}

// release frees everything that start acquired, as far as it came. No loop runs any more, so it may touch what they owned.
func (n *Node) release() error {
	var errs []error
	for _, sh := range n.shards {
		sh.readLane.Close()
		sh.long.lane.Close()
		sh.long.drop()
		sh.logLane.Close()
	}
	if n.endLife != nil {
		n.endLife()
		n.watching.Wait()
	}
	if n.pages != nil {
		n.pages.Close()
	}
	if n.collector != nil {
		errs = append(errs, n.collector.export.Close())
	}
	if n.transfers != nil {
		n.transfers.Close()
	}
	if n.peerDialer != nil {
		n.peerDialer.Close()
	}
	if n.learning != nil {
		n.learning.Close()
		n.fetching.Close()
	}
	if n.compacting != nil {
		n.compacting.Close()
	}
	if n.background != nil {
		n.background.Close()
		n.dialer.Close()
	}
	for _, sh := range n.shards {
		errs = append(errs, sh.closeStores())
		// After a drain that was cut short a write or chore may have no one to take it back; the process ends anyway.
		if sh.log != nil && !sh.choring && (sh.logJob.write == nil || sh.logJob.stalled) {
			errs = append(errs, sh.log.Close())
		}
		errs = append(errs, sh.rows.Close())
	}
	if n.shared != nil {
		n.shared.Close()
	}
	n.locksMu.Lock()
	defer n.locksMu.Unlock()
	for _, lock := range n.locks {
		errs = append(errs, lock.Close())
	}
	return errors.Join(errs...)
}

// closeStores flushes, so that the next start has nothing to replay, and closes.
func (sh *Shard) closeStores() error {
	var wg sync.WaitGroup
	errs := make(chan error, len(sh.partitions))
	slots := make(chan struct{}, openConcurrency)
	for _, p := range sh.partitions {
		if p.store == nil {
			continue
		}
		p.scanners.closeAll()
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			var err error
			if p.state == replicaOpen {
				if _, err = p.store.Flush(); err != nil {
					sh.logger.Warn("flush at stop failed; the log will be replayed", zap.Stringer("gpid", p.gpid), zap.Error(err))
				}
			}
			if err := p.store.Close(); err != nil {
				errs <- fmt.Errorf("close %v: %w", p.gpid, err)
			}
		})
	}
	wg.Wait()
	close(errs)
	var all []error
	for err := range errs {
		all = append(all, err)
	}
	return errors.Join(all...)
}
