package route

import "time"

// Rand spreads pauses. Equal seeds give equal pauses. It is no source of secrets.
type Rand uint64

// next is splitmix64.
func (r *Rand) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	z := uint64(*r)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Spread returns a duration from d/2 up to 3d/2.
func (r *Rand) Spread(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return d/2 + time.Duration(r.next()%uint64(d))
}

// Below returns a number from 0 up to n-1. n must be positive.
func (r *Rand) Below(n int) int { return int(r.next() % uint64(n)) }

// doubled is first after n doublings, at most most.
func doubled(first, most time.Duration, n int) time.Duration { return min(first<<min(n, 20), most) }
