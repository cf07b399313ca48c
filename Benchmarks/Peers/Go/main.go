// The channel design: producers put messages into a channel; a worker takes them out one by one, gathers a batch, and hands it
// on when it is full or its time is up. Written plainly, and as fast as the design allows.
//
// For each line "PRODUCERS MESSAGES" on standard input it measures once and answers with the seconds it took.
package main

import (
	"bufio"
	"fmt"
	"os"
	"sync"
	"time"
)

const (
	batchSize = 512
	linger    = 10 * time.Millisecond
	// The best of 64, 512, 4,096 and 65,536, the largest of which is no faster.
	channelSize = 4096
)

var handled int

//go:noinline
func handle(batch []int) { handled += len(batch) }

func work(messages <-chan int, done *sync.WaitGroup) {
	defer done.Done()
	batch := make([]int, 0, batchSize)
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	flush := func() {
		handle(batch)
		batch = batch[:0]
	}
	for {
		select {
		case message, isOpen := <-messages:
			if !isOpen {
				if len(batch) > 0 {
					flush()
				}
				return
			}
			if len(batch) == 0 {
				timer.Reset(linger)
			}
			batch = append(batch, message)
			if len(batch) == batchSize {
				timer.Stop()
				flush()
			}
		case <-timer.C:
			if len(batch) > 0 {
				flush()
			}
		}
	}
}

func measure(producers, count int) float64 {
	handled = 0
	messages := make(chan int, channelSize)
	var worker, senders sync.WaitGroup
	worker.Add(1)
	start := time.Now()
	go work(messages, &worker)
	for producer := 0; producer < producers; producer++ {
		senders.Add(1)
		go func() {
			defer senders.Done()
			for message := 0; message < count/producers; message++ {
				messages <- message
			}
		}()
	}
	senders.Wait()
	close(messages)
	worker.Wait()
	seconds := time.Since(start).Seconds()
	if handled != count/producers*producers {
		panic("messages were lost")
	}
	return seconds
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var producers, count int
		if _, err := fmt.Sscan(lines.Text(), &producers, &count); err != nil {
			panic(err)
		}
		fmt.Println(measure(producers, count))
	}
}
