#include "tests/lab/fault.h"

#include <csignal>
#include <optional>

namespace homeport::lab {
namespace {

/// Longer than an agent waits for a silent peer.
constexpr auto kSeen = 12s;
constexpr auto kFrozen = 10s;
constexpr auto kBlink = 1s;

const char* name_of(Victim victim) {
  switch (victim) {
    case Victim::source_agent:
      return "source_agent";
    case Victim::destination_agent:
      return "destination_agent";
    case Victim::source_guest:
      return "source_guest";
    case Victim::destination_guest:
      return "destination_guest";
    case Victim::database:
      return "database";
    case Victim::database_leader:
      return "database_leader";
    case Victim::data_link:
      return "data_link";
    case Victim::database_link:
      return "database_link";
  }
  return "";
}

const char* name_of(Harm harm) {
  switch (harm) {
    case Harm::kill:
      return "kill";
    case Harm::freeze:
      return "freeze";
    case Harm::cut:
      return "cut";
    case Harm::blink:
      return "blink";
    case Harm::one_way:
      return "one_way";
    case Harm::loss:
      return "loss";
  }
  return "";
}

/// Until the move has ended, for at most `time`.
void wait_ended_within(Fleet& fleet, Clock::duration time) {
  const auto until = Clock::now() + time;
  wait_until([&] { return Clock::now() > until || fleet.last_task().ended(); }, time + 60s,
             "a fault to have lasted");
}

void harm_agent(Host& host, Harm harm, HeldMove& move) {
  if (harm == Harm::kill) {
    host.kill_agent();
    move.source.release();
    host.start_agent();
    host.wait_ready(60s);
    return;
  }
  host.agent().send_signal(SIGSTOP);
  move.source.release();
  let_pass(kFrozen);
  host.agent().send_signal(SIGCONT);
}

void harm_guest(Host& host, Harm harm, HeldMove& move) {
  const pid_t guest = host.guest_pid(move.fleet.options().name);
  if (guest > 0) ::kill(guest, harm == Harm::kill ? SIGKILL : SIGSTOP);
  move.source.release();
  if (harm == Harm::kill || guest <= 0) return;
  let_pass(kFrozen);
  ::kill(guest, SIGCONT);
}

template <class Server>
void harm_database(Server& database, Harm harm, HeldMove& move) {
  if (harm == Harm::kill) {
    database.stop();
    move.source.release();
    let_pass(kBlink);
    database.start();
    return;
  }
  database.pause();
  move.source.release();
  let_pass(kFrozen);
  database.go_on();
}

void harm_link(Link& link, Harm harm, HeldMove& move) {
  switch (harm) {
    case Harm::one_way:
      link.lose({.from_member = 100, .to_member = 0});
      break;
    case Harm::loss:
      link.lose({.from_member = 5, .to_member = 5});
      break;
    default:
      link.cut();
      break;
  }
  move.source.release();
  if (harm == Harm::blink) {
    let_pass(kBlink);
  } else if (&link == &move.source.management()) {
    let_pass(kSeen);  // the database is asked through what was cut
  } else {
    wait_ended_within(move.fleet, harm == Harm::loss ? 25s : kSeen);
  }
  if (link.is_cut()) link.restore();
  link.lose({});
}

}  // namespace

std::string Fault::name() const {
  return std::string(name_of(victim)) + "_" + name_of(harm);
}

std::vector<Fault> all_faults() {
  std::vector<Fault> all;
  for (Victim process : {Victim::source_agent, Victim::destination_agent, Victim::source_guest,
                         Victim::destination_guest, Victim::database}) {
    for (Harm harm : {Harm::kill, Harm::freeze}) all.push_back({process, harm});
  }
  for (Victim link : {Victim::data_link, Victim::database_link}) {
    for (Harm harm : {Harm::cut, Harm::blink, Harm::one_way, Harm::loss}) {
      all.push_back({link, harm});
    }
  }
  for (Harm harm : {Harm::kill, Harm::freeze}) all.push_back({Victim::database_leader, harm});
  return all;
}

void inflict(const Fault& fault, HeldMove move) {
  switch (fault.victim) {
    case Victim::source_agent:
      return harm_agent(move.source, fault.harm, move);
    case Victim::destination_agent:
      return harm_agent(move.destination, fault.harm, move);
    case Victim::source_guest:
      return harm_guest(move.source, fault.harm, move);
    case Victim::destination_guest:
      return harm_guest(move.destination, fault.harm, move);
    case Victim::database:
      return harm_database(move.fleet.lab().database(), fault.harm, move);
    case Victim::database_leader:
      return harm_database(move.fleet.lab().database().leader(), fault.harm, move);
    case Victim::data_link:
      return harm_link(move.destination.underlay(), fault.harm, move);
    case Victim::database_link:
      return harm_link(move.source.management(), fault.harm, move);
  }
}

void repair(HeldMove move) {
  for (Host* host : {&move.source, &move.destination}) {
    host->release();
    for (Link* link : {&host->underlay(), &host->management()}) {
      if (link->is_cut()) link->restore();
    }
  }
  move.fleet.lab().database().go_on();
  move.fleet.lab().database().start();
  move.fleet.lab().database().wait_agreed();
  move.fleet.lab().start_agents();
}

std::string end_of_move(HeldMove move) {
  Fleet& fleet = move.fleet;
  std::optional<Clock::time_point> in_doubt;
  TaskView task;
  wait_until(
      [&] {
        task = fleet.last_task();
        if (task.state != "in-doubt") in_doubt.reset();
        if (task.state == "in-doubt" && !in_doubt) in_doubt = Clock::now();
        return task.ended() || (in_doubt && Clock::now() - *in_doubt > 30s);
      },
      120s, "the move to end",
      [&] {
        return "it is " + task.state + ", " + task.phase + ", " + task.error + "\n" +
               move.source.agent().log_tail() + "\n" + move.destination.agent().log_tail();
      });
  if (task.ended()) return task.state;
  const bool there = fleet.lab().location(fleet.options().name) == move.destination.name();
  fleet.lab().homeport_checked("task resolve " + task.id + " --to " +
                               (there ? "destination" : "source"));
  return "decided, " + fleet.wait_ended(60s).state;
}

}  // namespace homeport::lab
