// Package timerslack lets the kernel be late with the timeouts of this process. It knows nothing of what waits for them.
//
// Go's runtime has a thread, sysmon, that looks after the scheduler. While anything happens it sleeps 20 us at a time, which becomes
// 70 with the slack of 50 us that Linux gives a process, and it goes on so for 50 rounds after the last thing that happened; only
// when nothing happens does it come down to once in 10 ms. It is the busiest thread of an idle server, 1,200 of 1,300 context
// switches per second. In a busy one it finds, each time, that a loop has not been through the scheduler for long, which is how
// loops are, and sends its thread a signal. What it is there for, processors to take from system calls and goroutines that run for
// too long, is a matter of milliseconds where there are processors enough, and there are (see pegasus-replica).
//
// Measured with 3 replica servers and 3 metas on two processors, release build. Slack of 50 us against 1 ms: idle, 1.5 to 3.4 % of a
// processor per process against 0.7 to 1.6 %; one replicated put at a time, 560 to 620 us of server CPU against 380 to 390. 1 ms
// against 4 ms: puts at 4 x 16, 47 us against 40; gets at 4 x 8, 6.5 against 5.9. 4 ms against 12 ms: puts at 4 x 16, 34.6 against 30.5.
//
// The price: a goroutine that was made runnable by one that goes on running may wait that long for a thread that steals it. What
// is in a hurry does not go through the scheduler here: loops, log lanes and read lanes have threads of their own, and the timers of a
// loop are a timerfd's, which have no slack.
//
// The thread inherits its slack from the one that starts the runtime, and no thread may set that of another without privileges.
// So it has to be set before the program starts: by whoever starts it (systemd has TimerSlackNSec), or by starting again.
package timerslack

import (
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Slacks: how late a timeout may be.
const (
	// Data is for a server whose requests are served by threads of their own: sysmon's own pace when nothing happens.
	Data = 10 * time.Millisecond
	// Control is for a server that hands its work from goroutine to goroutine.
	Control = time.Millisecond
	// Normal is what Linux gives a process, and what a thread asks for whose sleeps matter.
	Normal = 50 * time.Microsecond
)

// Restart gives the whole process a slack by executing its program again, same process, arguments and environment, unless it has as
// much already. Call it before anything else in main. Where it cannot be done the program goes on as it is.
func Restart(slack time.Duration) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if have, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0); err != nil || have >= int(slack) {
		return
	}
	program, err := os.Executable()
	if err != nil || SetThread(slack) != nil {
		return
	}
	_ = syscall.Exec(program, os.Args, os.Environ()) // it returns only when it failed
	_ = SetThread(Normal)
}

// SetThread sets the slack of the calling thread, to which the goroutine must be locked.
func SetThread(slack time.Duration) error {
	return os.NewSyscallError("prctl", unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(slack), 0, 0, 0))
}
