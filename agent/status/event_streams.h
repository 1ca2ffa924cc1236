// The readers of /v1/events: who they are, and when there is something for them.
//
//   ControlDatabase, PathControllers -> things_changed()
//       -> [at most every event_interval] snapshot -> EventFeed -> each reader
//
// One snapshot serves all readers, and none is taken while there is no reader. A reader has no
// queue of its own: it is a cursor into the feed and the piece of text that is being sent.
#pragma once

#include "agent/status/event_feed.h"
#include "agent/status/reply.h"
#include "agent/status/server.h"
#include "agent/status/stream.h"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>

#include <memory>
#include <set>
#include <string>

namespace homeport::agent {

class EventStreams : public std::enable_shared_from_this<EventStreams> {
 public:
  EventStreams(boost::asio::any_io_executor executor, const StatusServerOptions& options,
               StatusServer::Provider provider);

  /// Whether there are as many readers as there may be.
  bool full() const { return readers_.size() >= options_.event_streams_max; }

  void things_changed();

  /// Takes no more snapshots. The streams end because their connections are closed.
  void stop();

  /// Sends `head` and then events, until the peer goes, says anything or is too slow, or the stream
  /// is closed.
  static boost::asio::awaitable<void> serve(std::shared_ptr<EventStreams> self,
                                            StatusStream& stream, StatusResponse head,
                                            std::string last_event_id);

 private:
  struct Reader;
  class Registration;

  void refresh();

  StatusServerOptions options_;
  StatusServer::Provider provider_;
  EventFeed feed_;
  std::set<Reader*> readers_;
  boost::asio::steady_timer timer_;  ///< Its expiry is when the next snapshot may be taken.
  bool refresh_pending_ = false;
  bool stopped_ = false;
};

}  // namespace homeport::agent
