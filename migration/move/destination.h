// The destination's side of moves: admits them, receives the application, holds it, and runs it or
// cleans up. destination_machine.h says which, and when.
#pragma once

#include "migration/move/incoming_move.h"
#include "overlay/channel/channel.h"

#include <boost/asio/awaitable.hpp>

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace homeport::migration {

/// Used on the control executor only.
class Destination {
 public:
  explicit Destination(DestinationContext context);
  ~Destination();

  /// Serves one control channel of a source until it ends.
  boost::asio::awaitable<void> serve(overlay::Channel channel);

  /// Knows from now on that an agent which was killed has left this behind. Before anything else is
  /// said here: to a source that asks, what is not known is not there.
  void enter(JournalEntry entry);
  /// Finds out what became of it, and goes on. Needs the control database.
  boost::asio::awaitable<void> take_up(std::string application);

  /// Admits nothing more and gives up what is not complete, because of `why`.
  void wind_up(const std::string& why);
  /// Whether a move is under way here, or has a source that has not heard how it ended.
  bool busy() const;
  /// Whether one of this application is.
  bool expects(const std::string& application) const;

  /// The control database says this about an application.
  void on_owner(const std::string& application, const Owner& owner);

  /// An incoming application as the status shows it.
  struct View {
    std::string application, source, move_id;
    DestinationState state;
  };
  std::vector<View> incoming() const;

 private:
  std::shared_ptr<IncomingMove> find(const std::string& move_id, const std::string& source) const;
  bool runs_since(const Resume& question) const;
  boost::asio::awaitable<ToSource> answer(std::shared_ptr<overlay::Channel> channel,
                                          std::shared_ptr<IncomingMove>& move,
                                          ToDestination message, std::vector<std::byte>& payload);
  boost::asio::awaitable<Result<std::shared_ptr<IncomingMove>>> prepare(std::string source,
                                                                        Prepare request);
  bool all_known() const;
  void drop_finished();

  std::shared_ptr<const DestinationContext> context_;
  std::map<std::string, std::shared_ptr<IncomingMove>> moves_;  ///< by application
  std::string ending_;                                          ///< why nothing more is admitted
};

}  // namespace homeport::migration
