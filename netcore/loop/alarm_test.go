package loop

import (
	"testing"
	"time"
)

// What comes back at multiples of its period meets what has another one, wherever each began and however late it fired.
func TestAtMultiple(t *testing.T) {
	var c core
	fired := map[int64]int{} // by time
	var every func(period time.Duration)
	every = func(period time.Duration) {
		c.AtMultiple(period, func() {
			fired[c.now/1e6/100]++
			every(period)
		})
	}
	c.now = 17e6
	every(100 * time.Millisecond)
	c.now = 42e6
	every(300 * time.Millisecond)
	every(time.Second)
	turns, total := 0, 0
	for at, _ := c.timers.Next(); at <= 3000e6; at, _ = c.timers.Next() {
		c.now = at + at%7*1e6
		c.timers.Advance(c.now)
		turns++
	}
	for _, n := range fired {
		total += n
	}
	if turns != 30 || len(fired) != 30 || total != 30+10+3 {
		t.Errorf("%d timers fired in %d turns, within %d tenths of 3 s", total, turns, len(fired))
	}
}

// The alarm waits for long, as it is hardly ever needed, unless the library has output to send: then it does things untold.
func TestAlarm(t *testing.T) {
	c := &core{base: time.Now()}
	c.pollFD = 3
	c.now = 1000e6
	c.timers.At(c.now+10e6, func() {})
	c.setAlarm(false)
	defer func() { c.alarm.Stop() }()
	if want := c.now + int64(alarmRest); c.alarmAt != want {
		t.Errorf("alarm in %d ns, want %d", c.alarmAt-c.now, want-c.now)
	}
	c.lagging = true
	c.setAlarm(false)
	if want := c.now + int64(alarmLag); c.alarmAt != want {
		t.Errorf("output to send: alarm in %d ns, want %d", c.alarmAt-c.now, want-c.now)
	}
	c.watching = true
	c.setAlarm(false)
	if want := c.now + 10e6; c.alarmAt != want {
		t.Errorf("looking after sessions: alarm in %d ns, want %d", c.alarmAt-c.now, want-c.now)
	}
	c.alarmFired.Store(true)
	c.watching = false
	c.setAlarm(false)
	if c.lagging || c.alarmAt != c.now+int64(alarmRest) {
		t.Errorf("no session has output: alarm in %d ns, lagging %v", c.alarmAt-c.now, c.lagging)
	}
}
