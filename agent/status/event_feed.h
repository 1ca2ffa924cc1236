// The things that change, as a sequence of events, in the text of server-sent events
// (https://html.spec.whatwg.org/multipage/server-sent-events.html). Pure.
//
//   event: reset         forget everything; each thing that there is follows
//   event: task          data: the task, as /v1/tasks has it
//   event: removed       data: {"id": ID}, of a task
//   event: path          data: what a class's path to a host is, and by which change
//   event: path-removed  data: {"peer": HOST, "class": CLASS}: nothing is negotiated there any more
//
// Each thing has one event at most, its latest: a reader that is slow misses what was in between,
// and what is kept is as much as there are things, however many read. The last kRemovalsKept
// removals are kept too; a reader that has missed more begins again with a reset.
#pragma once

#include "agent/status/model.h"

#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <variant>
#include <vector>

namespace homeport::agent {

class EventFeed {
 public:
  static constexpr std::size_t kRemovalsKept = 1'000;

  /// Takes in what the things of `model` are now; true when that is news.
  bool update(const StatusModel& model);

  /// How far a reader is.
  struct Cursor {
    bool fresh = true;           ///< Has not had its reset.
    std::uint64_t seen = 0;      ///< Has had all events up to this one,
    std::uint64_t complete = 0;  ///< and at its reset the things of this moment.
  };

  /// Behind the event of that id if it is one of this feed and nothing since has been forgotten,
  /// else fresh. `last_event_id` comes from the reader and may be anything.
  Cursor resume(std::string_view last_event_id) const;

  /// The events that follow, as text, and moves the cursor: no more events than fit into `limit`
  /// bytes, but at least one. Empty when there is none.
  std::string next(Cursor& cursor, std::size_t limit) const;

 private:
  /// What a thing has for a name: of which kind it is, and which of these.
  using Key = std::tuple<std::size_t, std::string, policy::TrafficClass>;
  using Thing = std::variant<TaskSnapshot, PathEvent>;

  struct Event {
    Thing thing;  ///< Of a removed one only what its key has.
    bool removed = false;
  };

  static Key key_of(const TaskSnapshot& task);
  static Key key_of(const PathEvent& path);
  static Thing with_nothing_but(const Key& key);

  template <class T>
  void take(const std::vector<T>& things, std::set<Key>& present);
  std::string text(std::uint64_t revision, const Event& event) const;
  bool missed_removals(const Cursor& cursor) const;

  std::string instance_;  ///< Tells the ids of this agent from those of the one before it.
  std::uint64_t revision_ = 0;
  std::map<std::uint64_t, Event> events_;  ///< By the revision they brought.
  std::map<Key, std::uint64_t> things_;    ///< Where the event of a thing is.
  std::deque<std::uint64_t> removals_;
  std::uint64_t forgotten_ = 0;  ///< The last removal that is no longer kept.
};

}  // namespace homeport::agent
