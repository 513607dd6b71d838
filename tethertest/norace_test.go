//go:build !race

package tethertest_test

const raceDetector = false
