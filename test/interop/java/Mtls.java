import io.spiffe.provider.SpiffeSslContextFactory;
import io.spiffe.provider.SpiffeSslContextFactory.SslContextOptions;
import io.spiffe.spiffeid.SpiffeId;
import io.spiffe.workloadapi.X509Source;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.InetAddress;
import java.security.GeneralSecurityException;
import java.security.cert.X509Certificate;
import java.util.Base64;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLServerSocket;
import javax.net.ssl.SSLSocket;

/** mTLS with the contexts that java-spiffe-provider makes: as a user should, and as it makes them by default. */
final class Mtls {
  private static final int DEADLINE_MS = 10_000;

  private final X509Source source;
  /** The connections that stay open, by the address of their server. */
  private final Map<String, Connection> kept = new HashMap<>();
  /** By the id that is expected: a program that does not know better has one for all its connections. */
  private final Map<String, SSLContext> defaults = new HashMap<>();
  Mtls(X509Source source) {
    this.source = source;
  }

  /** Whom one end of a connection has seen at the other; the leaf is base64 of DER. */
  private record Met(String id, String leaf) {}

  /** A connection as its client sees it. */
  private record Meeting(Met peer, Met us, String tls) {}

  private record Connection(SSLSocket socket, BufferedReader lines) {
    void write(String line) throws IOException {
      socket.getOutputStream().write((line + "\n").getBytes());
    }
  }

  /**
   * Serves mTLS on a free port to peers of one SPIFFE ID; the address. It tells each whom it has met, and then says again what is
   * said to it. How each handshake went becomes an event.
   */
  Object listen(String expect, boolean asByDefault) throws Exception {
    var host = InetAddress.getByName("127.0.0.1");
    var context = context(expect, asByDefault);
    if (!asByDefault) context.getServerSessionContext().setSessionTimeout(1);
    var listener = (SSLServerSocket) context.getServerSocketFactory().createServerSocket(0, 50, host);
    listener.setNeedClientAuth(true);
    daemon(() -> accept(listener));
    return "127.0.0.1:" + listener.getLocalPort();
  }

  private static void accept(SSLServerSocket listener) {
    while (true) {
      try {
        var socket = (SSLSocket) listener.accept();
        daemon(() -> serve(socket));
      } catch (IOException error) {
        Client.event("ended", Client.reasons(error));
        return;
      }
    }
  }

  private static void serve(SSLSocket socket) {
    try (socket) {
      socket.startHandshake();
      Met peer = met(socket);
      Client.event("accepted", peer.id);
      var connection = new Connection(socket, lines(socket));
      connection.write(Client.JSON.toJson(peer));
      for (String line = connection.lines.readLine(); line != null; line = connection.lines.readLine()) {
        connection.write(line);
      }
    } catch (IOException | GeneralSecurityException error) {
      Client.event("refused", Client.reasons(error));
    }
  }

  /** Whom it has reached, and who the other side says that we are. */
  Object dial(String address, String expect) throws Exception {
    var connection = connect(address, expect, false);
    try (var socket = connection.socket) {
      Meeting meeting = introduced(connection);
      return Map.of("peer", meeting.peer.id, "us", meeting.us.id);
    }
  }

  /** Dials, and keeps the connection. */
  Object open(String address, String expect, boolean asByDefault) throws Exception {
    var connection = connect(address, expect, asByDefault);
    Meeting meeting = introduced(connection);
    kept.put(address, connection);
    return meeting;
  }

  /** What comes back on the connection that open has kept. */
  Object say(String address, String word) throws IOException {
    var connection = kept.get(address);
    connection.write(word);
    return connection.lines.readLine();
  }

  private Connection connect(String address, String expect, boolean asByDefault) throws Exception {
    String[] parts = address.split(":");
    var factory = context(expect, asByDefault).getSocketFactory();
    var socket = (SSLSocket) factory.createSocket(parts[0], Integer.parseInt(parts[1]));
    socket.setSoTimeout(DEADLINE_MS);
    socket.startHandshake();
    return new Connection(socket, lines(socket));
  }

  private static Meeting introduced(Connection connection) throws Exception {
    // In TLS 1.3 the server's refusal comes after the client's handshake, with the first read.
    Met us = Client.JSON.fromJson(connection.lines.readLine(), Met.class);
    return new Meeting(met(connection.socket), us, connection.socket.getSession().getProtocol());
  }

  /** Two connections of one context may share a session, and then the second shows no certificate: here each has its own. */
  private SSLContext context(String expect, boolean asByDefault) throws GeneralSecurityException {
    var expected = Set.of(SpiffeId.parse(expect));
    var options = SslContextOptions.builder().x509Source(source).acceptedSpiffeIdsSupplier(() -> expected);
    if (!asByDefault) return SpiffeSslContextFactory.getSslContext(options.sslProtocol("TLSv1.3").build());
    if (!defaults.containsKey(expect)) defaults.put(expect, SpiffeSslContextFactory.getSslContext(options.build()));
    return defaults.get(expect);
  }

  /** The other side, which the handshake has verified. */
  private static Met met(SSLSocket socket) throws IOException, GeneralSecurityException {
    var leaf = (X509Certificate) socket.getSession().getPeerCertificates()[0];
    String id =
        leaf.getSubjectAlternativeNames().stream()
            .filter(name -> name.get(0).equals(6))
            .map(name -> (String) name.get(1))
            .findFirst()
            .orElseThrow();
    return new Met(id, Base64.getEncoder().encodeToString(leaf.getEncoded()));
  }

  private static BufferedReader lines(SSLSocket socket) throws IOException {
    return new BufferedReader(new InputStreamReader(socket.getInputStream()));
  }

  private static void daemon(Runnable work) {
    var thread = new Thread(work);
    thread.setDaemon(true);
    thread.start();
  }
}
