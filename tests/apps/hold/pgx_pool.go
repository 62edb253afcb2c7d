// LANES goroutines over a pgx pool, one transaction of SHORTEST_MS to LONGEST_MS after the other without a pause
// between them. No signal handler beyond the Go runtime's own.
package main

import (
	"context"
	"fmt"
	"math/rand"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"github.com/jackc/pgx/v4"
	"github.com/jackc/pgx/v4/pgxpool"
)

var journal *os.File

func number(name string, otherwise int) int {
	if value, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return value
	}
	return otherwise
}

// CLOCK_MONOTONIC itself: Go's own clock does not tell it.
func nowMs() float64 {
	var now syscall.Timespec
	syscall.Syscall(syscall.SYS_CLOCK_GETTIME, 1, uintptr(unsafe.Pointer(&now)), 0)
	return float64(now.Sec)*1e3 + float64(now.Nsec)/1e6
}

func say(format string, words ...interface{}) {
	journal.WriteString(fmt.Sprintf(format, words...) + "\n")
}

func transaction(pool *pgxpool.Pool, lane int, name string) error {
	ctx, began := context.Background(), nowMs()
	shortest, longest, statements := number("SHORTEST_MS", 5), number("LONGEST_MS", 50), number("STATEMENTS", 3)
	ms := float64(shortest) + rand.Float64()*float64(longest-shortest)
	gap := time.Duration(ms / float64(statements) * float64(time.Millisecond))
	say("I %s", name)
	return pool.BeginFunc(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "INSERT INTO work(id) VALUES ($1)", name); err != nil {
			return err
		}
		time.Sleep(gap)
		for more := statements - 2; more > 0; more-- {
			if _, err := tx.Exec(ctx, "SELECT sum(hits) FROM tally WHERE n < 10"); err != nil {
				return err
			}
			time.Sleep(gap)
		}
		if _, err := tx.Exec(ctx, "UPDATE tally SET hits = hits + 1 WHERE n = $1", lane); err != nil {
			return err
		}
		time.Sleep(gap)
		if err := tx.Commit(ctx); err != nil {
			return err
		}
		say("C %s\nT %s %.1f %.1f", name, name, began, nowMs())
		return nil
	})
}

func work(pool *pgxpool.Pool, lane int) {
	for turn := 1; ; turn++ {
		name := fmt.Sprintf("%d.%d.%d", os.Getpid(), lane, turn)
		if err := transaction(pool, lane, name); err != nil && err != pgx.ErrTxClosed {
			say("E %s %s", name, strings.SplitN(err.Error(), "\n", 2)[0])
			return
		}
	}
}

func connect() *pgxpool.Pool {
	config, err := pgxpool.ParseConfig(strings.Replace(os.Getenv("DATABASE_URL"), "?pgbouncer=true", "", 1))
	if err != nil {
		panic(err)
	}
	config.MaxConns = int32(number("LANES", 8))
	config.ConnConfig.PreferSimpleProtocol = true // PgBouncer in transaction mode knows no prepared statements
	pool, err := pgxpool.ConnectConfig(context.Background(), config)
	if err != nil {
		panic(err)
	}
	return pool
}

func main() {
	path := os.Getenv("JOURNAL")
	if path == "" {
		path = "/dev/null"
	}
	var err error
	if journal, err = os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0666); err != nil {
		panic(err)
	}
	pool := connect()
	for lane := 0; lane < number("LANES", 8); lane++ {
		go work(pool, lane)
	}
	say("O ready %d", os.Getpid())
	select {}
}
