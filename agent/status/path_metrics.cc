#include "agent/status/path_metrics.h"

#include <algorithm>
#include <string>
#include <vector>

namespace homeport::agent {
namespace {

double seconds(policy::Micros time) {
  return static_cast<double>(time.count()) / 1e6;
}

double ratio(policy::LossPpm loss) {
  return static_cast<double>(loss) / policy::kAllLost;
}

class PathMetrics {
 public:
  PathMetrics(Exposition& out, const PathsSnapshot& paths) : out_(out) {
    for (const PeerPathsSnapshot& peer : paths.peers) peers_.push_back(&peer);
    std::sort(peers_.begin(), peers_.end(),
              [](const auto* a, const auto* b) { return a->peer < b->peer; });
    if (peers_.size() > kPathMetricsPeers) peers_.resize(kPathMetricsPeers);
  }

  void write_peers() {
    out_.family("homeport_path_peer_connected", "gauge",
                "1 while there is a channel to the peer's agent, over which paths are agreed.");
    for (const auto* peer : peers_) out_.sample({{"peer", peer->peer}}, peer->connected ? 1 : 0);
    out_.family("homeport_path_probes_sent_total", "counter", "Probes sent to the peer.");
    for (const auto* peer : peers_) out_.sample({{"peer", peer->peer}}, peer->probes_sent);
    out_.family("homeport_path_probes_answered_total", "counter",
                "Probes that the peer's datapath has answered.");
    for (const auto* peer : peers_) out_.sample({{"peer", peer->peer}}, peer->probes_answered);
  }

  void write_chosen() {
    out_.family("homeport_path_info", "gauge",
                "The path that a class of traffic takes to the peer; always 1.");
    each([&](std::string_view peer, std::string_view traffic, const ClassPathSnapshot& of) {
      if (!of.path) return;
      out_.sample({{"peer", peer},
                   {"class", traffic},
                   {"local_interface", of.path->local.interface},
                   {"local_address", of.path->local.address.to_string()},
                   {"remote_interface", of.path->remote.interface},
                   {"remote_address", of.path->remote.address.to_string()},
                   {"relay", of.path->relay}},
                  1);
    });
    out_.family("homeport_path_agreed", "gauge", "1 while both hosts use the same path.");
    each([&](std::string_view peer, std::string_view traffic, const ClassPathSnapshot& of) {
      out_.sample({{"peer", peer}, {"class", traffic}}, of.state == "agreed" ? 1 : 0);
    });
    out_.family("homeport_path_rtt_seconds", "gauge", "Round-trip time of that path.");
    each([&](std::string_view peer, std::string_view traffic, const ClassPathSnapshot& of) {
      if (!of.quality.rtt) return;
      out_.sample({{"peer", peer}, {"class", traffic}}, seconds(*of.quality.rtt));
    });
    out_.family("homeport_path_loss_ratio", "gauge",
                "Part of the packets that is lost on that path, by direction.");
    each([&](std::string_view peer, std::string_view traffic, const ClassPathSnapshot& of) {
      const auto write = [&](std::string_view direction, const policy::DirectionQuality& quality) {
        if (!quality.loss) return;
        out_.sample({{"peer", peer}, {"class", traffic}, {"direction", direction}},
                    ratio(*quality.loss));
      };
      write("out", of.quality.out);
      write("in", of.quality.in);
    });
  }

  void write_counts() {
    out_.family("homeport_path_changes_total", "counter",
                "How often a class of traffic has got another path to the peer, by cause.");
    each([&](std::string_view peer, std::string_view traffic, const ClassPathSnapshot& of) {
      for (const auto& [cause, count] : of.changes) {
        out_.sample({{"peer", peer}, {"class", traffic}, {"cause", to_string(cause)}}, count);
      }
    });
    out_.family("homeport_path_candidates", "gauge",
                "Paths to the peer that both hosts offer, by standing.");
    each([&](std::string_view peer, std::string_view traffic, const ClassPathSnapshot& of) {
      for (const policy::Standing standing : kStandings) {
        const auto found = of.candidates.find(standing);
        out_.sample({{"peer", peer}, {"class", traffic}, {"standing", to_string(standing)}},
                    found == of.candidates.end() ? 0 : found->second);
      }
    });
  }

 private:
  template <class Write>
  void each(Write write) {
    for (const auto* peer : peers_) {
      for (const ClassPathSnapshot& of : peer->classes) {
        write(peer->peer, to_string(of.traffic), of);
      }
    }
  }

  Exposition& out_;
  std::vector<const PeerPathsSnapshot*> peers_;
};

}  // namespace

void write_paths(Exposition& out, const PathsSnapshot& paths) {
  out.single("homeport_path_peers", "gauge", "Hosts that this one negotiates paths with.",
             paths.peers.size());
  out.single("homeport_path_relaying_hosts", "gauge", "Hosts that this one relays for.",
             paths.relaying.hosts);
  out.single("homeport_path_relaying_labels", "gauge",
             "What they may send through it: a network towards a host, each.",
             paths.relaying.labels);
  PathMetrics metrics(out, paths);
  metrics.write_peers();
  metrics.write_chosen();
  metrics.write_counts();
}

}  // namespace homeport::agent
