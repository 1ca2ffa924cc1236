// controller create | move HOST | remove: a virtual machine, with Go's libovsdb.
package main

import (
	"fmt"
	"log"
	"os"
	"time"

	ovsdb "github.com/socketplane/libovsdb"
)

// updates passes on what the server says about the monitored rows.
type updates chan ovsdb.TableUpdates

func (u updates) Update(_ interface{}, changed ovsdb.TableUpdates) { u <- changed }
func (u updates) Disconnected(*ovsdb.OvsdbClient)                  { log.Fatal("the connection was lost") }
func (u updates) Locked([]interface{})                             {}
func (u updates) Stolen([]interface{})                             {}
func (u updates) Echo([]interface{})                               {}

type row = map[string]interface{}

var database *ovsdb.OvsdbClient

func insert(table string, columns row) ovsdb.Operation {
	return ovsdb.Operation{Op: "insert", Table: table, Row: columns}
}

func remove(table, column string, value interface{}) ovsdb.Operation {
	return ovsdb.Operation{Op: "delete", Table: table,
		Where: []interface{}{ovsdb.NewCondition(column, "==", value)}}
}

func set(values ...string) *ovsdb.OvsSet {
	made, _ := ovsdb.NewOvsSet(values)
	return made
}

func dictionary(values map[string]string) *ovsdb.OvsMap {
	made, _ := ovsdb.NewOvsMap(values)
	return made
}

func transact(operations ...ovsdb.Operation) []ovsdb.OperationResult {
	results, err := database.Transact("Homeport", operations...)
	if err != nil {
		log.Fatal(err)
	}
	for _, result := range results { // one for each operation, and one more if the commit failed
		if result.Error != "" {
			log.Fatal(result.Error, ": ", result.Details)
		}
	}
	return results
}

// runTask asks for a task and returns when it has ended.
func runTask(kind string, arguments map[string]string) {
	changes := make(updates, 1000)
	database.Register(changes)
	columns := []string{"task", "state", "error", "finished"}
	now := ovsdb.MonitorSelect{Initial: true, Insert: true, Modify: true}
	_, err := database.Monitor("Homeport", "tasks",
		map[string]ovsdb.MonitorRequest{"Task_Status": {Columns: columns, Select: now}})
	if err != nil {
		log.Fatal(err)
	}
	wish := row{"kind": kind, "application": "vm1", "requested_by": "controller.go"}
	if len(arguments) > 0 { // libovsdb cannot write a map without entries
		wish["arguments"] = dictionary(arguments)
	}
	task := transact(insert("Task", wish))[0].UUID
	late := time.After(10 * time.Minute)
	for {
		select {
		case <-late:
			log.Fatal(kind, ": not finished within 10 minutes")
		case changed := <-changes:
			for _, update := range changed.Updates["Task_Status"].Rows {
				status := update.New.Fields
				_, unset := status["finished"].(ovsdb.OvsSet) // a number once it is finished
				if status["task"] != task.GoUUID || unset {
					continue
				}
				transact(remove("Task", "_uuid", task))
				if status["state"] != "succeeded" {
					log.Fatal(kind, ": ", status["state"], ": ", status["error"])
				}
				fmt.Println(kind + ": done")
				return
			}
		}
	}
}

func main() {
	log.SetFlags(0)
	if len(os.Args) < 2 {
		log.Fatal("usage: controller create | move HOST | remove")
	}
	var err error
	if database, err = ovsdb.Connect("127.0.0.1", 6640); err != nil {
		log.Fatal(err)
	}
	switch os.Args[1] {
	case "create":
		transact(
			insert("Network", row{"name": "net1", "vni": 100, "subnets": set("10.1.0.0/24", "fd01::/64")}),
			insert("Application", row{"name": "vm1", "driver": "qemu", "launch_profile": "qemu-tiny",
				"properties": dictionary(map[string]string{"memory_mib": "256", "vcpus": "1"})}),
			insert("Binding", row{"name": "vm1", "application": "vm1", "network": "net1",
				"mac": "52:54:00:00:01:05", "prior_addresses": set("10.1.0.5", "fd01::5"),
				"location": "hostA"}))
		runTask("start", nil)
	case "move":
		runTask("move", map[string]string{"destination": os.Args[2]})
	case "remove":
		runTask("stop", nil)
		transact(remove("Binding", "application", "vm1"), remove("Application", "name", "vm1"),
			remove("Network", "name", "net1"))
	}
}
