// Verdicts of Java: Client.java PORT ROOT HOST… (the root comes in the trust store)
import java.net.Socket;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.SSLSocketFactory;

public class Client {
    public static void main(String[] args) throws Exception {
        int port = Integer.parseInt(args[0]);
        var factory = (SSLSocketFactory) SSLSocketFactory.getDefault();
        for (int i = 2; i < args.length; i++) {
            try (var raw = new Socket("127.0.0.1", port);
                    var socket = (SSLSocket) factory.createSocket(raw, args[i], port, true)) {
                SSLParameters parameters = socket.getSSLParameters();
                parameters.setEndpointIdentificationAlgorithm("HTTPS");
                socket.setSSLParameters(parameters);
                socket.startHandshake();
                System.out.println(args[i] + " ok");
            } catch (SSLException error) {
                System.out.println(args[i] + " refused " + error.getMessage());
            }
        }
    }
}
