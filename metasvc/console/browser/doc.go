// Package browser looks at the console of a real cluster with a headless Chromium: `make console-test`. It is a module of its own,
// so that nothing else needs the driver.
package browser
